//! Figures of all methods at one amount of noise, over its repeats.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::figures::{FIGURES, Figures, N_FIGURES};
use super::spoil::{Condition, Kind};

/// All methods at one amount of a kind.
#[derive(Serialize)]
pub(crate) struct Level {
    pub(super) kind: &'static str,
    /// Standard deviations added, share of counts kept, share of genes lost; 0 for clean samples.
    pub(super) amount: f64,
    pub(super) repeats: usize,
    pub(super) methods: Vec<Method>,
}

/// The figures of a method, over the repeats.
pub(super) struct Method {
    pub(super) name: String,
    pub(super) figures: [Spread; N_FIGURES],
}

/// Mean and standard deviation; NaN where there is none.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

impl Level {
    /// Of figures of all methods, one entry for each repeat.
    pub(super) fn new(condition: &Condition, names: &[String], repeats: &[&[Figures]]) -> Self {
        let methods = names.iter().enumerate().map(|(at, name)| {
            let values = |figure: usize| -> Vec<f64> {
                repeats.iter().map(|methods| methods[at].values()[figure]).collect()
            };
            let figures = core::array::from_fn(|figure| Spread::of(&values(figure)));
            Method { name: name.clone(), figures }
        });
        Self {
            kind: condition.kind.map_or("clean", Kind::name),
            amount: condition.amount(),
            repeats: repeats.len(),
            methods: methods.collect(),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn amount(&self) -> f64 {
        self.amount
    }

    /// Mean of one of [`FIGURES`] of a method by its name, over the repeats; NaN where it has none.
    pub(crate) fn mean(&self, method: &str, figure: &str) -> f64 {
        let method = self.methods.iter().find(|one| one.name == method);
        let at = FIGURES.iter().position(|name| *name == figure);
        method.zip(at).map_or(f64::NAN, |(method, at)| method.figures[at].mean)
    }

    pub(super) fn title(&self) -> String {
        match self.kind {
            "clean" => "clean".into(),
            "gaussian" => format!("{} SD", self.amount),
            _ => format!("{:.0} %", 100.0 * self.amount),
        }
    }
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        // One value has none: 0 / 0.
        Self { mean, deviation: (squares / (n - 1.0)).sqrt() }
    }

    pub(super) fn text(self) -> String {
        match (self.mean.is_nan(), self.deviation.is_nan()) {
            (true, _) => "    -       ".into(),
            (false, true) => format!("{:.3}       ", self.mean),
            (false, false) => format!("{:.3} ±{:.3}", self.mean, self.deviation),
        }
    }
}

impl Serialize for Method {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Map::new();
        object.insert("method".into(), Value::from(self.name.as_str()));
        for (name, spread) in FIGURES.into_iter().zip(&self.figures) {
            let value = match spread.mean.is_nan() {
                true => Value::Null,
                false => json!({ "mean": spread.mean, "sd": spread.deviation }),
            };
            object.insert(name.into(), value);
        }
        object.serialize(serializer)
    }
}
