//! Where a table of calls comes from: recorded in every output, and read by `cic verify`.

use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use cic_data::UnsValue;
use cic_model::profile::Library;
use cic_model::quant::ONE_Q16;
use cic_model::{Dtype, Model, ValueKind};
use cic_runtime::kernels::Isa;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::console::command_line;
use crate::digests::{file_sha256, folder_sha256, hex};
use crate::failure::Failure;
use crate::model_file;
use crate::typed::TypedCells;
use crate::typing_options::TypingOptions;

/// All that is needed to make the result again, and to see that nothing is other than it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Provenance {
    pub(crate) schema_version: u32,
    pub(crate) runtime_version: String,
    /// As it was typed.
    pub(crate) command: String,
    /// The options that change results, as `cic type` takes them.
    pub(crate) arguments: Vec<String>,
    /// When typing began, in seconds since 1970.
    pub(crate) unix_time: u64,
    pub(crate) seconds: f64,
    pub(crate) model_path: String,
    pub(crate) model_id: String,
    pub(crate) model_sha256: String,
    pub(crate) precision: String,
    /// What the results depend on: `integer` is the same on every processor.
    pub(crate) arithmetic: String,
    pub(crate) kernel: String,
    pub(crate) input_path: String,
    pub(crate) input_format: String,
    /// Of the file, or of the lines of `input_files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input_sha256: Option<String>,
    /// Digest and name of each file that was read, as `sha256sum` prints them.
    pub(crate) input_files: Vec<String>,
    pub(crate) value_kind: String,
    pub(crate) library: String,
    pub(crate) target_sum: u32,
    pub(crate) n_genes_model: u64,
    pub(crate) n_genes_present: u32,
    pub(crate) n_cells: u64,
    pub(crate) n_rejected: u64,
    pub(crate) min_counts: u32,
    pub(crate) min_genes: u32,
    pub(crate) min_coverage: f64,
    pub(crate) min_confidence: f64,
    /// Whether cells unlike those of training were looked for: `judged`, `too few genes` or `not known to the model`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) novelty: String,
    /// Of CellTypist's table of probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) probabilities_sha256: Option<String>,
    /// Of the file with the clusters, where they are in one of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clusters_sha256: Option<String>,
    /// Of the table that this stands beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_sha256: Option<String>,
}

/// What a run of `cic type` was.
pub(crate) struct Run<'a> {
    pub(crate) options: &'a TypingOptions,
    pub(crate) model_path: &'a Path,
    pub(crate) data_path: &'a Path,
    pub(crate) started: SystemTime,
    pub(crate) kind: ValueKind,
    pub(crate) input: InputDigest,
}

impl Provenance {
    pub(crate) fn new(cells: &TypedCells<'_>, run: Run<'_>) -> Result<Self, Failure> {
        let model = cells.model;
        let rules = model.rules();
        let profile = model.profiles().first();
        let share = |q16: u32| f64::from(q16) / f64::from(ONE_Q16);
        let mut options = run.options.clone();
        let clusters = options.vote.file(&cells.head);
        if let Some(file) = &clusters {
            options.vote.over_clustering = Some(full_path(file));
        }
        let (input_sha256, input_files) = run.input.finish()?;
        let since = run.started.duration_since(SystemTime::UNIX_EPOCH);
        Ok(Self {
            schema_version: 1,
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            command: command_line(0),
            arguments: options.arguments(),
            unix_time: since.map_or(0, |since| since.as_secs()),
            seconds: run.started.elapsed().map_or(0.0, milliseconds),
            model_path: full_path(run.model_path),
            model_id: model.id().to_string(),
            model_sha256: model_file::sha256(model),
            precision: model.dtype().name().into(),
            arithmetic: arithmetic(model).into(),
            kernel: Isa::best().name().into(),
            input_path: full_path(run.data_path),
            input_format: cells.head.source.format.clone(),
            input_sha256,
            input_files,
            value_kind: run.kind.name().into(),
            library: profile.map_or("none", |profile| library_name(profile.library())).into(),
            target_sum: profile.map_or(0, |profile| profile.target_sum()),
            n_genes_model: model.n_genes() as u64,
            n_genes_present: cells.overlap.n_present,
            n_cells: cells.calls.len() as u64,
            n_rejected: cells.n_rejected() as u64,
            min_counts: rules.min_counts,
            min_genes: rules.min_genes,
            min_coverage: share(rules.min_coverage_q16),
            min_confidence: share(rules.min_confidence_q16),
            novelty: match model.novelty() {
                None => "not known to the model",
                Some(novelty) if novelty.holds_for(cells.overlap.share_q30) => "judged",
                Some(_) => "too few genes",
            }
            .into(),
            probabilities_sha256: None,
            clusters_sha256: clusters.map(|file| file_sha256(&file)).transpose()?,
            output_sha256: None,
        })
    }

    /// What typing again must give too: names of fields, with what is recorded and what should be.
    pub(crate) fn differences(&self, again: &Self) -> Result<Vec<(String, Value, Value)>, Failure> {
        let (Value::Object(recorded), Value::Object(mut again)) =
            (self.to_json()?, again.to_json()?)
        else {
            return Ok(Vec::new());
        };
        let others = recorded.into_iter().filter(|(name, _)| !OF_ONE_RUN.contains(&name.as_str()));
        let pairs = others.map(|(name, recorded)| {
            let now = again.remove(&name).unwrap_or_default();
            (name, recorded, now)
        });
        Ok(pairs.filter(|(_, recorded, now)| recorded != now).collect())
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> Result<Value, Failure> {
        serde_json::to_value(self).map_err(Failure::internal)
    }

    /// As named values of `uns`.
    pub(crate) fn to_uns(&self) -> Result<UnsValue, Failure> {
        Ok(uns_of(self.to_json()?))
    }

    /// From what [`Self::to_uns`] gave.
    pub(crate) fn from_uns(value: UnsValue) -> Result<Self, serde_json::Error> {
        serde_json::from_value(json_of(value))
    }
}

/// What may be other when the same is done again, or is compared by itself.
const OF_ONE_RUN: [&str; 12] = [
    "runtime_version",
    "command",
    "arguments",
    "unix_time",
    "seconds",
    "kernel",
    "model_path",
    "input_path",
    "input_sha256",
    "input_files",
    "probabilities_sha256",
    "output_sha256",
];

fn arithmetic(model: &Model<'_>) -> &'static str {
    match model.dtype() {
        Dtype::S8 => "integer",
        _ => "floating",
    }
}

fn library_name(library: Library) -> &'static str {
    match library {
        Library::None => "none",
        Library::Panel => "panel",
        Library::AllMeasured => "all_measured",
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

/// From the root, so that it is found from every folder.
fn full_path(path: &Path) -> String {
    absolute(path).unwrap_or_else(|_| path.to_path_buf()).to_string_lossy().into_owned()
}

fn uns_of(value: Value) -> UnsValue {
    match value {
        Value::Object(members) => {
            UnsValue::Dict(members.into_iter().map(|(key, value)| (key, uns_of(value))).collect())
        }
        Value::Array(items) => UnsValue::Texts(
            items
                .into_iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect(),
        ),
        Value::String(text) => UnsValue::Text(text),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => UnsValue::Integer(integer),
            None => UnsValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        other => UnsValue::Text(other.to_string()),
    }
}

fn json_of(value: UnsValue) -> Value {
    match value {
        UnsValue::Dict(entries) => {
            entries.into_iter().map(|(key, value)| (key, json_of(value))).collect()
        }
        UnsValue::Texts(texts) => texts.into(),
        UnsValue::Text(text) => text.into(),
        UnsValue::Integer(integer) => integer.into(),
        UnsValue::Number(number) => number.into(),
    }
}

/// Digests of the files that are read, made while they are typed. By default there is none.
#[derive(Default)]
pub(crate) struct InputDigest(Option<JoinHandle<Result<Vec<String>, Failure>>>);

impl InputDigest {
    /// Begins on a thread of its own.
    pub(crate) fn start(files: &[PathBuf]) -> Self {
        if files.is_empty() || !files.iter().all(|file| file.is_file() || file.is_dir()) {
            return Self(None);
        }
        let files = files.to_vec();
        let lines = move || -> Result<Vec<String>, Failure> {
            let mut lines = Vec::new();
            for file in &files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let digest = if file.is_dir() { folder_sha256(file) } else { file_sha256(file) };
                lines.push(format!("{}  {name}", digest?));
            }
            lines.sort_by(|a, b| a.split("  ").nth(1).cmp(&b.split("  ").nth(1)));
            Ok(lines)
        };
        Self(Builder::new().spawn(lines).ok())
    }

    /// The digest of all, and the lines of `sha256sum`.
    pub(crate) fn finish(self) -> Result<(Option<String>, Vec<String>), Failure> {
        let Some(thread) = self.0 else { return Ok((None, Vec::new())) };
        let lines = thread.join().map_err(|_| Failure::internal("no digest of the input"))??;
        let digest = match &lines[..] {
            [only] => only.split(' ').next().map(str::to_owned),
            _ => Some(hex(&Sha256::digest(lines.join("\n") + "\n"))),
        };
        Ok((digest, lines))
    }
}

/// Where the provenance of a table stands that has no room for it.
pub(crate) fn beside(table: &Path) -> PathBuf {
    let mut name = table.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

/// The provenance beside a table, if it is there.
pub(crate) fn read_beside(path: &Path) -> Result<Provenance, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::input(format!(
            "{shown}: {error}; a table is verified with what cic type wrote beside it, give that \
             file with --provenance"
        ))
    })?;
    serde_json::from_str(&text).map_err(|error| not_provenance(path, &error))
}

/// Refuses what is no provenance.
pub(crate) fn not_provenance(path: &Path, error: &serde_json::Error) -> Failure {
    Failure::input(format!(
        "{}: holds no provenance that this version reads ({error}); expected what cic type writes",
        path.display()
    ))
}
