//! Axes: what range they cover, where values lie on them, and their ticks.

use super::canvas::{Anchor, Canvas, number};

/// An axis: its label, its scale, and what it covers.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// What is measured, with its unit.
    pub label: String,
    /// How values are laid out.
    pub scale: Scale,
    /// What it covers; by the data where that is not said.
    pub range: Option<(f64, f64)>,
    /// Values with a tick, and its text; at round values where there are none.
    pub ticks: Vec<(f64, String)>,
}

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithms: values that are not above zero are left out.
    Log,
    /// By their logarithms, from large to small.
    LogFalling,
}

impl Axis {
    /// An evenly laid out axis.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// The same, from `low` to `high`.
    pub fn between(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..Self::new(label) }
    }
}

/// An axis laid over pixels.
pub(super) struct Span {
    scale: Scale,
    /// Of the data, or of its logarithms.
    low: f64,
    high: f64,
    /// Pixels of `low` and `high`.
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Span {
    /// Over the pixels from `from` to `to`, for an axis and the values that it has to show.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let usable = |value: &f64| can_show(axis.scale, *value);
        let (mut low, mut high) = match axis.range {
            Some((low, high)) if usable(&low) && usable(&high) && low < high => (low, high),
            _ => {
                let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
                for value in values.chain(axis.ticks.iter().map(|tick| tick.0)).filter(usable) {
                    (low, high) = (low.min(value), high.max(value));
                }
                padded(axis.scale, low, high)
            }
        };
        if axis.scale != Scale::Linear {
            (low, high) = (low.log10(), high.log10());
        }
        let (from, to) = if axis.scale == Scale::LogFalling { (to, from) } else { (from, to) };
        let mut span = Self { scale: axis.scale, low, high, from, to, ticks: axis.ticks.clone() };
        if span.ticks.is_empty() {
            span.ticks = span.round_ticks();
        }
        span.ticks.retain(|tick| span_has(axis.scale, low, high, tick.0));
        span
    }

    /// Where a value lies, and `None` for what cannot be shown. Beyond the range is at its end.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !can_show(self.scale, value) {
            return None;
        }
        let value = if self.scale == Scale::Linear { value } else { value.log10() };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        Some(self.from + share * (self.to - self.from))
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, &str)> {
        self.ticks.iter().filter_map(|(value, text)| Some((self.place(*value)?, text.as_str())))
    }

    /// Ticks and their lines from `top` to `bottom`, and the label below.
    pub(super) fn draw_below(&self, canvas: &mut Canvas, label: &str, top: f64, bottom: f64) {
        for (x, text) in self.ticks() {
            canvas.line((x, top), (x, bottom), "grid");
            canvas.text((x, bottom + 17.0), Anchor::Middle, "tick", text);
        }
        canvas.text(((self.from + self.to) / 2.0, bottom + 38.0), Anchor::Middle, "muted", label);
    }

    /// Ticks and their lines from `left` to `right`, and the label at the edge of the figure.
    pub(super) fn draw_beside(&self, canvas: &mut Canvas, label: &str, left: f64, right: f64) {
        for (y, text) in self.ticks() {
            canvas.line((left, y), (right, y), "grid");
            canvas.text((left - 8.0, y + 4.0), Anchor::End, "tick", text);
        }
        canvas.text_upwards((16.0, (self.from + self.to) / 2.0), "muted", label);
    }

    fn round_ticks(&self) -> Vec<(f64, String)> {
        let decades = self.high - self.low;
        if self.scale != Scale::Linear && decades >= 1.0 {
            // At most nine, however many decades there are.
            let step = (decades / 8.0).ceil().max(1.0);
            let mut power = self.low.ceil();
            let mut ticks = Vec::new();
            while power <= self.high + 1e-9 {
                let value = 10_f64.powf(power);
                ticks.push((value, number(value)));
                power += step;
            }
            return ticks;
        }
        let (low, high) = match self.scale {
            Scale::Linear => (self.low, self.high),
            Scale::Log | Scale::LogFalling => (10_f64.powf(self.low), 10_f64.powf(self.high)),
        };
        let step = round_step((high - low) / 5.0);
        let first = (low / step - 1e-9).ceil();
        let ticks = (0..12).map(|n| (first + f64::from(n)) * step);
        let ticks = ticks.take_while(|tick| *tick <= high + step * 1e-6);
        ticks.map(|tick| (tick, tick_text(tick, step))).collect()
    }
}

/// Numbers beyond this overflow where they are subtracted and scaled.
const LARGEST: f64 = 1e150;

fn can_show(scale: Scale, value: f64) -> bool {
    let is_positive = scale == Scale::Linear || value > 1e-150;
    value.is_finite() && value.abs() < LARGEST && is_positive
}

fn span_has(scale: Scale, low: f64, high: f64, value: f64) -> bool {
    let value = if scale == Scale::Linear { value } else { value.log10() };
    let slack = (high - low) * 1e-6;
    value >= low - slack && value <= high + slack
}

/// A range with some room, that is not empty.
fn padded(scale: Scale, low: f64, high: f64) -> (f64, f64) {
    if low > high {
        return if scale == Scale::Linear { (0.0, 1.0) } else { (1.0, 10.0) };
    }
    if scale != Scale::Linear {
        return if low < high { (low, high) } else { (low / 2.0, high * 2.0) };
    }
    let room = (high - low) * 0.05;
    // What is too small beside the values themselves would vanish when it is added.
    let least = low.abs().max(high.abs()) * 1e-6;
    let room = if room > least { room } else { least.max(if least == 0.0 { 0.5 } else { 0.0 }) };
    let rounded = |value: f64, fallback: f64| if value == 0.0 { 0.0 } else { fallback };
    if low < high {
        (rounded(low, low - room), rounded(high, high + room))
    } else {
        (low - room, high + room)
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// With as many decimals as the step has.
fn tick_text(value: f64, step: f64) -> String {
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    if !(1e-6..1.0).contains(&step) {
        return number(value);
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{:.decimals$}", value.abs());
    if value < 0.0 { format!("−{text}") } else { text }
}
