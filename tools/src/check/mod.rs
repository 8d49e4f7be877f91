//! `cic check`: what a file holds and what a model would make of it, before anything is done.
//!
//! The file is read as `cic type` reads it, block by block, and refused for the same reasons in the
//! same order, with the same words.

mod document;
mod fit;
mod plan;
mod spread;
mod survey;
mod text;

use std::path::PathBuf;
use std::sync::Arc;

use cic_data::{BlockSize, DataError, ExpressionHead, ExpressionReader, GeneNaming, ScaleVerdict};
use cic_model::ValueKind;
use clap::Args;
use serde_json::Value;

use crate::console::{print, print_json};
use crate::dataset::{DataArgs, Dataset, UnjudgedArgs};
use crate::failure::Failure;
use crate::model_file;
use crate::progress::Progress;
use fit::{Against, Fit};
use survey::Survey;

/// Options of `cic check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Also tell what cic type would do with this model;
    /// exit with 3 if it would refuse the file
    #[arg(long, short, value_name = "MODEL", verbatim_doc_comment)]
    model: Option<PathBuf>,
    #[command(flatten)]
    unjudged: UnjudgedArgs,
    /// Print JSON: docs/check.md lists its keys
    #[arg(long)]
    json: bool,
}

/// Reads and prints; fails after that where the file is refused.
pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    let bytes = args.model.as_deref().map(model_file::read).transpose()?;
    let model = match (&args.model, &bytes) {
        (Some(path), Some(bytes)) => Some((path.as_path(), model_file::open(path, bytes)?)),
        _ => None,
    };
    let against = model.as_ref().map(|(path, model)| Against {
        path,
        model,
        accepts_unjudged: args.unjudged.accept_unjudged,
    });
    let checked = match Checked::read(&args.data, against) {
        Ok(checked) => checked,
        // A program that reads the document learns the reason from it too.
        Err(failure @ Failure::Input(_)) if args.json => {
            print_json(&document::unread(&failure))?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    match args.json {
        true => print_json(&document::json(&checked))?,
        false => print(|out| text::write(&checked, out))?,
    }
    checked.refusal.map_or(Ok(()), Err)
}

/// What a data set holds, as `--json` prints it.
pub(crate) fn describe(dataset: &Dataset, declared: Option<ValueKind>) -> Result<Value, Failure> {
    let matrix = &dataset.matrix;
    let mut survey = Survey::default();
    survey.add(matrix.names(), &matrix.values, declared);
    let verdict = survey.verdict(matrix.names(), declared)?;
    let verdict = verdict.ok_or_else(|| ALL_ZERO.to_owned());
    let head = ExpressionHead {
        obs_names: matrix.obs_names.clone(),
        genes: matrix.genes.clone(),
        obs: matrix.obs.clone(),
        source: matrix.source.clone(),
    };
    let naming = GeneNaming::of(&head.genes);
    let head = Arc::new(head);
    let checked = Checked { head, naming, survey, verdict, fit: None, refusal: None };
    Ok(document::json(&checked))
}

/// Said of values that are on no scale or every one.
const ALL_ZERO: &str = "every value is zero";

/// What was found.
struct Checked<'a> {
    head: Arc<ExpressionHead>,
    naming: GeneNaming,
    survey: Survey,
    /// What the values are, or why nothing can be said.
    verdict: Result<ScaleVerdict, String>,
    fit: Option<Fit<'a>>,
    /// Why `cic type` would refuse the file, or why no model could take it.
    refusal: Option<Failure>,
}

impl<'a> Checked<'a> {
    /// Reads a file to its end.
    fn read(data: &DataArgs, model: Option<Against<'a>>) -> Result<Self, Failure> {
        let (path, options, size) = (&data.data, data.options(), BlockSize::default());
        let declared = data.values.kind;
        let reader = ExpressionReader::open(path, &options, size)?;
        match Self::survey(reader, declared, model)? {
            Ok(checked) => Ok(checked),
            // Entries that are not sorted by cell: all of them are needed at once.
            Err(Unsorted) => {
                let reader = ExpressionReader::open_unsorted(path, &options, size)?;
                let checked = Self::survey(reader, declared, model)?;
                checked.map_err(|Unsorted| Failure::internal("the file was read whole"))
            }
        }
    }

    fn survey(
        mut reader: ExpressionReader,
        declared: Option<ValueKind>,
        model: Option<Against<'a>>,
    ) -> Result<Result<Self, Unsorted>, Failure> {
        let head = reader.head().clone();
        let names = head.names();
        let mut survey = Survey::default();
        let progress = Progress::of_cells(head.obs_names.len(), false);
        let (mut fit, mut refusal) = match model {
            None => (None, None),
            Some(against) => {
                let (fit, refusal) = Fit::new(against, names, declared)?;
                (Some(fit), refusal)
            }
        };
        loop {
            let block = match reader.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(DataError::NotByCell { .. }) if !survey.has_fault() => {
                    return Ok(Err(Unsorted));
                }
                // What came before it in the file is the reason that typing gives.
                Err(error) => {
                    let earlier = refusal.or_else(|| survey.take_fault().map(Failure::from));
                    return Err(earlier.unwrap_or_else(|| error.into()));
                }
            };
            survey.add(names, &block, declared);
            if let Some(fit) = &mut fit {
                fit.add(&block);
            }
            progress.tell(survey.n_cells());
        }
        progress.finish();
        let verdict = match survey.verdict(names, declared) {
            Ok(verdict) => verdict.ok_or_else(|| ALL_ZERO.to_owned()),
            Err(error) => {
                let failure = Failure::from(error);
                let message = failure.to_string();
                refusal.get_or_insert(failure);
                Err(message)
            }
        };
        if let (Some(fit), Ok(verdict), None) = (&fit, &verdict, &refusal) {
            refusal = fit.check_values(names, verdict).err();
        }
        let naming = GeneNaming::of(&head.genes);
        Ok(Ok(Self { head: head.clone(), naming, survey, verdict, fit, refusal }))
    }
}

/// A `matrix.mtx` whose entries are not sorted by cell.
struct Unsorted;
