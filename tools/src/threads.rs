//! How many threads a command uses.

use clap::Args;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::failure::Failure;

/// Threads of a command whose results do not depend on them.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ThreadArgs {
    /// Threads, 0 for one per processor; they change
    /// nothing but the time
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=256),
        verbatim_doc_comment
    )]
    threads: u16,
}

impl ThreadArgs {
    /// 0 for one per processor.
    pub(crate) fn number(self) -> usize {
        usize::from(self.threads)
    }

    /// Threads to work on.
    pub(crate) fn pool(self) -> Result<ThreadPool, Failure> {
        ThreadPoolBuilder::new().num_threads(self.number()).build().map_err(Failure::internal)
    }
}
