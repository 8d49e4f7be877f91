//! Names of leaves and genes.

use core::ffi::c_char;

use cic_model::Model;

use crate::handle::{ModelHandle, OpenModel};
use crate::pointer::check;
use crate::status::Status;

/// Name of a leaf.
///
/// text: set to its UTF-8, which lies in the model and has no zero byte at the end.
/// len: set to its bytes; 0 for a name that the model lacks.
///
/// # Safety
/// - A cic_model is at model, with the bytes that it was opened on.
/// - A pointer is at text and a size_t at len, and nobody else uses them during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_leaf_name(
    model: *const ModelHandle,
    leaf: u32,
    text: *mut *const c_char,
    len: *mut usize,
) -> Status {
    // SAFETY: promised by the caller.
    unsafe { name(model, leaf, Of::Leaf, |model, leaf| model.labels().leaf_name(leaf), text, len) }
}

/// Ontology id of a leaf, such as CL:0000236. Otherwise like cic_leaf_name.
///
/// # Safety
/// - Those of cic_leaf_name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_leaf_ontology_id(
    model: *const ModelHandle,
    leaf: u32,
    text: *mut *const c_char,
    len: *mut usize,
) -> Status {
    let id = |model: &Model<'static>, leaf| {
        let labels = model.labels();
        labels.node(leaf).map_or("", |node| labels.ontology_id(node))
    };
    // SAFETY: promised by the caller.
    unsafe { name(model, leaf, Of::Leaf, id, text, len) }
}

/// Id of a gene of the panel, such as an Ensembl id. Otherwise like cic_leaf_name.
///
/// # Safety
/// - Those of cic_leaf_name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_gene_id(
    model: *const ModelHandle,
    gene: u32,
    text: *mut *const c_char,
    len: *mut usize,
) -> Status {
    // SAFETY: promised by the caller.
    unsafe { name(model, gene, Of::Gene, |model, gene| model.genes().id(gene), text, len) }
}

/// Symbol of a gene of the panel. Otherwise like cic_leaf_name.
///
/// # Safety
/// - Those of cic_leaf_name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_gene_symbol(
    model: *const ModelHandle,
    gene: u32,
    text: *mut *const c_char,
    len: *mut usize,
) -> Status {
    // SAFETY: promised by the caller.
    unsafe { name(model, gene, Of::Gene, |model, gene| model.genes().symbol(gene), text, len) }
}

/// What an index counts.
enum Of {
    Leaf,
    Gene,
}

/// # Safety
/// That of [`cic_leaf_name`].
unsafe fn name(
    handle: *const ModelHandle,
    index: u32,
    of: Of,
    find: impl FnOnce(&Model<'static>, usize) -> &'static str,
    text: *mut *const c_char,
    len: *mut usize,
) -> Status {
    let found = || {
        check(text)?;
        check(len)?;
        // SAFETY: promised by the caller.
        let model = &unsafe { OpenModel::at(handle) }?.model;
        let n = match of {
            Of::Leaf => model.n_leaves(),
            Of::Gene => model.n_genes(),
        };
        let index = index as usize;
        if index < n { Ok(find(model, index)) } else { Err(Status::OutOfRange) }
    };
    match found() {
        Ok(name) => {
            // SAFETY: not null, aligned, and writable by the caller's promise.
            unsafe { text.write(name.as_ptr().cast()) };
            // SAFETY: not null, aligned, and writable by the caller's promise.
            unsafe { len.write(name.len()) };
            Status::Ok
        }
        Err(status) => status,
    }
}
