//! Matrix algebra that gives the same bits whatever the number of threads.

/// Has faer's decompositions, solutions and products of this process run on the thread that calls them: on several they sum in
/// another order. What is worth several threads is cut into pieces of fixed bounds by us.
pub(crate) fn on_calling_thread() {
    faer::set_global_parallelism(faer::Par::Seq);
}
