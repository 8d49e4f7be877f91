//! The options of typing that change a result. They are recorded with it, and read back from there.

use std::path::Path;

use cic_data::Orientation;
use cic_model::Model;
use clap::{Args, Parser};

use crate::dataset::{UnjudgedArgs, ValueArgs};
use crate::failure::Failure;
use crate::totals::TotalArgs;
use crate::vote::VoteArgs;

/// What may be asked of typing beside the model and the data.
#[derive(Args, Clone, Debug)]
pub(crate) struct TypingOptions {
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    #[command(flatten)]
    pub(crate) totals: TotalArgs,
    #[command(flatten)]
    pub(crate) vote: VoteArgs,
    /// Probability from which on a label with labels
    /// below it is given, in cic_node
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.5,
        value_parser = parse_probability,
        verbatim_doc_comment
    )]
    pub(crate) min_node_confidence: f32,
    /// Reject by how well the model reproduces a cell
    /// too, not by its code alone; counts only, slower
    #[arg(long, verbatim_doc_comment)]
    pub(crate) thorough: bool,
    #[command(flatten)]
    pub(crate) unjudged: UnjudgedArgs,
}

impl TypingOptions {
    /// The options that are not as they are by default, as a command line. The destructuring makes a
    /// new option a fault of compilation here.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let Self { values, totals, vote, min_node_confidence, thorough, unjudged } = self;
        let ValueArgs { kind, layer, rows } = values;
        let TotalArgs { total_counts } = totals;
        let VoteArgs { over_clustering, majority_voting: _, min_prop } = vote;
        let rows = rows.map(|rows| match rows {
            Orientation::GenesByObs => "genes",
            Orientation::ObsByGenes => "cells",
        });
        let given = [
            ("--kind", kind.map(|kind| kind.name().to_owned())),
            ("--layer", (layer != "X").then(|| layer.clone())),
            ("--rows", rows.map(str::to_owned)),
            ("--total-counts", total_counts.clone()),
            ("--over-clustering", over_clustering.clone()),
            ("--min-prop", (*min_prop > 0.0).then(|| min_prop.to_string())),
            ("--min-node-confidence", Some(min_node_confidence.to_string())),
        ];
        let given =
            given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        let flags = [("--thorough", *thorough), ("--accept-unjudged", unjudged.accept_unjudged)];
        let flags = flags.into_iter().filter(|(_, is_given)| *is_given);
        given.chain(flags.map(|(name, _)| name.to_owned())).collect()
    }

    /// Refuses what a model cannot do.
    pub(crate) fn check_model(&self, path: &Path, model: &Model<'_>) -> Result<(), Failure> {
        if self.thorough { check_thorough(path, model) } else { Ok(()) }
    }

    /// The options that a result was made with.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Failure> {
        #[derive(Parser)]
        #[command(no_binary_name = true, disable_help_flag = true)]
        struct Recorded {
            #[command(flatten)]
            options: TypingOptions,
        }
        match Recorded::try_parse_from(arguments) {
            Ok(recorded) => Ok(recorded.options),
            Err(_) => Err(Failure::input(format!(
                "the options that it was made with are not known to this version: {}",
                arguments.join(" ")
            ))),
        }
    }
}

/// Refuses a model that cannot be thorough.
pub(crate) fn check_thorough(path: &Path, model: &Model<'_>) -> Result<(), Failure> {
    if model.novelty().is_some_and(|novelty| novelty.error_limit(u64::MAX).is_some()) {
        return Ok(());
    }
    Err(Failure::Model(anyhow::anyhow!(
        "{}: it does not know how well it reproduces cells, which --thorough asks for; a model \
         that cic train made of counts does, and cic-quantize keeps it with --labels and without \
         --no-decoder",
        path.display()
    )))
}

fn parse_probability(text: &str) -> Result<f32, String> {
    let probability = text.parse().ok().filter(|p: &f32| (0.0..=1.0).contains(p));
    probability.ok_or_else(|| "expected a probability from 0 to 1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_from_their_record() {
        for given in [
            &["--kind=counts", "--layer=raw", "--min-node-confidence=0.5"][..],
            &["--min-node-confidence=0.25", "--thorough", "--accept-unjudged"],
            &["--rows=cells", "--over-clustering=leiden", "--min-prop=0.25"],
            &["--total-counts=-odd name", "--min-node-confidence=0.9"],
        ] {
            let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
            let mut back = TypingOptions::parse(&given).unwrap().arguments();
            back.retain(|text| given.contains(text) || text != "--min-node-confidence=0.5");
            assert_eq!(back, given);
        }
        assert!(TypingOptions::parse(&["--output=x".to_owned()]).is_err());
    }
}
