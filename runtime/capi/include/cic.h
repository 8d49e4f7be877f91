/*
 * Cell identity codes from C: an int8 model is opened in memory of the caller and types cells, without a
 * heap, a C library or state of its own.
 *
 * Every call returns a cic_status. Any number of threads may use the same model, each with a scratch and a
 * result of its own. Structs begin with struct_size, which the caller sets to the sizeof of the struct:
 * programs and libraries of different age understand each other as long as CIC_ABI_VERSION is the same.
 *
 * Pointers are checked for null and alignment, and lengths against the model. That as much memory lies
 * behind a pointer as is said, and that it stays there, is up to the caller; see Safety of each function.
 *
 * Made from runtime/capi/src by `cargo xtask header`.
 */

#ifndef CIC_H
#define CIC_H

#include <stddef.h>
#include <stdint.h>

/*
 Version of this interface. It grows by one with every change that an old caller would notice; new
 functions, new status values and longer structs are none.
 */
#define CIC_ABI_VERSION 1

/*
 Most leaves that a result lists.
 */
#define CIC_MAX_TOP 5

/*
 Words of a cic_model: more than this library needs, so that later ones of the same interface fit.
 */
#define CIC_MODEL_WORDS 576

/*
 Words of a cic_presence.
 */
#define CIC_PRESENCE_WORDS 22

/*
 What a call returns: 0, or why it did nothing. Values never change their meaning; later libraries may
 have more of them.
 */
enum cic_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /*
     Done.
     */
    CIC_STATUS_OK = 0,
    /*
     A pointer is null.
     */
    CIC_STATUS_NULL_POINTER = 1,
    /*
     A pointer is not aligned for what it leads to. Model bytes begin at a multiple of 4.
     */
    CIC_STATUS_MISALIGNED = 2,
    /*
     A length is more than memory can hold.
     */
    CIC_STATUS_TOO_LONG = 3,
    /*
     The first word of a struct is not the length that any version of it has.
     */
    CIC_STATUS_BAD_STRUCT_SIZE = 4,
    /*
     A field is set that this library does not know: it is older than the header.
     */
    CIC_STATUS_UNSUPPORTED_FIELD = 5,
    /*
     The model was not opened, or opening it failed.
     */
    CIC_STATUS_NOT_OPENED = 6,
    /*
     The kind of the sample is none of cic_sample_kind.
     */
    CIC_STATUS_UNKNOWN_SAMPLE_KIND = 7,
    /*
     An index of a leaf, a gene or a profile is not below their number.
     */
    CIC_STATUS_OUT_OF_RANGE = 8,
    /*
     The presence was made for another model or another profile.
     */
    CIC_STATUS_WRONG_PRESENCE = 9,
    /*
     A presence is neither 0 nor 1.
     */
    CIC_STATUS_BAD_MASK = 10,
    /*
     Another cause, which this interface has no value for yet.
     */
    CIC_STATUS_OTHER = 99,
    /*
     The model is shorter than its header says.
     */
    CIC_STATUS_MODEL_TRUNCATED = 100,
    /*
     The model is longer than its header says.
     */
    CIC_STATUS_MODEL_TRAILING_BYTES = 101,
    /*
     The bytes do not begin like a model.
     */
    CIC_STATUS_MODEL_BAD_MAGIC = 102,
    /*
     The model has a format version that this library does not read.
     */
    CIC_STATUS_MODEL_UNSUPPORTED_VERSION = 103,
    /*
     A field of the model's header is invalid.
     */
    CIC_STATUS_MODEL_BAD_HEADER = 104,
    /*
     Sections of the model overlap, leave a hole or run past its end.
     */
    CIC_STATUS_MODEL_BAD_SECTION_TABLE = 105,
    /*
     The model has a section that needs a newer library.
     */
    CIC_STATUS_MODEL_UNKNOWN_SECTION = 106,
    /*
     Padding of the model is not zero.
     */
    CIC_STATUS_MODEL_BAD_PADDING = 107,
    /*
     The model lacks a section.
     */
    CIC_STATUS_MODEL_MISSING_SECTION = 108,
    /*
     A section of the model does not have the length that it declares.
     */
    CIC_STATUS_MODEL_BAD_SECTION_LENGTH = 109,
    /*
     A field of the model is outside its range.
     */
    CIC_STATUS_MODEL_BAD_FIELD = 110,
    /*
     The model's metadata was changed: their SHA-256 differs.
     */
    CIC_STATUS_MODEL_METADATA_DIGEST_MISMATCH = 111,
    /*
     The model was changed: its SHA-256 differs.
     */
    CIC_STATUS_MODEL_DIGEST_MISMATCH = 112,
    /*
     Weights of the model could overflow a 32-bit sum.
     */
    CIC_STATUS_MODEL_ACCUMULATOR_OVERFLOW = 113,
    /*
     Dimensions of the model do not fit each other.
     */
    CIC_STATUS_MODEL_SHAPE_MISMATCH = 114,
    /*
     The model is not int8.
     */
    CIC_STATUS_MODEL_NOT_INT8 = 115,
    /*
     The scratch is shorter than cic_scratch_len tells.
     */
    CIC_STATUS_SCRATCH_TOO_SHORT = 200,
    /*
     The sample, the mask or the correction does not have the length that the model asks for.
     */
    CIC_STATUS_LENGTH_MISMATCH = 201,
    /*
     The profile takes counts and values were given, or the reverse.
     */
    CIC_STATUS_WRONG_VALUE_KIND = 202,
    /*
     A gene index is not below the number of genes.
     */
    CIC_STATUS_GENE_OUT_OF_RANGE = 203,
    /*
     Gene indices are not strictly increasing.
     */
    CIC_STATUS_GENES_NOT_INCREASING = 204,
    /*
     A gene is given that the presence calls missing.
     */
    CIC_STATUS_GENE_NOT_PRESENT = 205,
    /*
     A gene that is present is not listed, and its absence has no meaning for this profile.
     */
    CIC_STATUS_GENE_NOT_LISTED = 206,
    /*
     A value is not finite, or negative where that has no meaning.
     */
    CIC_STATUS_INVALID_VALUE = 207,
    /*
     The profile divides by the total over all measured genes, which was not given.
     */
    CIC_STATUS_MISSING_TOTAL = 208,
    /*
     The file has fewer of the panel's genes than the model accepts.
     */
    CIC_STATUS_COVERAGE_TOO_LOW = 209,
    /*
     The profile takes values, and this library was built for counts alone.
     */
    CIC_STATUS_NO_FLOATS = 210,
    /*
     A golden cell did not give the code and the logits that the model states.
     */
    CIC_STATUS_GOLDEN_DIFFERS = 300,
    /*
     The model has no golden cell, so that nothing was tested.
     */
    CIC_STATUS_NO_GOLDEN_CELLS = 301,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cic_status cic_status;
#else
typedef int32_t cic_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 How the values of a sample are given.
 */
enum cic_sample_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /*
     uint32_t counts of listed genes.
     */
    CIC_SAMPLE_KIND_COUNTS32 = 1,
    /*
     uint32_t counts of all genes.
     */
    CIC_SAMPLE_KIND_DENSE_COUNTS32 = 2,
    /*
     uint16_t counts of listed genes.
     */
    CIC_SAMPLE_KIND_COUNTS16 = 3,
    /*
     uint16_t counts of all genes.
     */
    CIC_SAMPLE_KIND_DENSE_COUNTS16 = 4,
    /*
     float values of listed genes, for profiles that do not take counts.
     */
    CIC_SAMPLE_KIND_VALUES = 5,
    /*
     float values of all genes, for profiles that do not take counts.
     */
    CIC_SAMPLE_KIND_DENSE_VALUES = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cic_sample_kind cic_sample_kind;
#else
typedef uint32_t cic_sample_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 Why a cell is not named.
 */
enum cic_reject
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /*
     It is named.
     */
    CIC_REJECT_NONE = 0,
    /*
     Not one gene of the panel is above zero.
     */
    CIC_REJECT_EMPTY = 1,
    /*
     Fewer counts than the model accepts.
     */
    CIC_REJECT_TOO_SHALLOW = 2,
    /*
     Fewer genes above zero than the model accepts.
     */
    CIC_REJECT_TOO_FEW_GENES = 3,
    /*
     The best label is less probable than the model accepts.
     */
    CIC_REJECT_LOW_CONFIDENCE = 4,
    /*
     What its counts are divided by, their sum or the given total, is zero or does not fit 32 bits.
     */
    CIC_REJECT_LIBRARY_TOO_LARGE = 5,
    /*
     Nearer to noise than to any type: to a mixture of all cells, or to values at random genes.
     */
    CIC_REJECT_NOISE_LIKE = 6,
    /*
     Unlike the training cells of every type.
     */
    CIC_REJECT_UNLIKE_TRAINING = 7,
    /*
     Nearer to a mixture of two types than to any one.
     */
    CIC_REJECT_DOUBLET_LIKE = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cic_reject cic_reject;
#else
typedef uint32_t cic_reject;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 What an input profile takes.
 */
enum cic_values
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /*
     Non-negative integers: UMI or read counts.
     */
    CIC_VALUES_COUNTS = 1,
    /*
     Non-negative, linear, already scaled: TPM, CPM, FPKM.
     */
    CIC_VALUES_LINEAR_NORMALISED = 2,
    /*
     ln(1 + x) of counts scaled to a target sum per sample.
     */
    CIC_VALUES_LOG1P = 3,
    /*
     log2 of an intensity: microarrays.
     */
    CIC_VALUES_LOG2_INTENSITY = 4,
    /*
     Ranks of the genes among those of the panel that the sample has: (genes of a smaller value + (genes of the same value +
     1) / 2) / genes that the sample has, above 0 and at most 1; 0 where a gene was not detected.
     */
    CIC_VALUES_RANKS = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cic_values cic_values;
#else
typedef uint32_t cic_values;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 Which sum divides the values of a sample.
 */
enum cic_library
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /*
     None: the values are used as they are.
     */
    CIC_LIBRARY_NONE = 0,
    /*
     The sum over the genes of the panel that are present.
     */
    CIC_LIBRARY_PANEL = 1,
    /*
     The sum over all measured genes, which every sample has to give.
     */
    CIC_LIBRARY_ALL_MEASURED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cic_library cic_library;
#else
typedef uint32_t cic_library;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 A model, opened by cic_open; its words are the library's. It refers to the model's bytes, which stay
 where they are for as long as it is used. It may be copied, needs no closing, and any number of
 threads may use it at a time.
 */
typedef struct cic_model {
    uint64_t mark;
    size_t words[CIC_MODEL_WORDS];
} cic_model;

/*
 Which genes of the panel a file has, opened by cic_presence_open; its words are the library's. It
 refers to the mask and the correction, which stay where they are for as long as it is used.
 */
typedef struct cic_presence {
    uint64_t mark;
    size_t words[CIC_PRESENCE_WORDS];
} cic_presence;

/*
 Counts or values of one cell over the genes of the panel. Set it to zero, struct_size to
 sizeof(cic_sample), then what is needed.
 */
typedef struct cic_sample {
    /*
     Bytes of this struct that the caller knows.
     */
    uint32_t struct_size;
    /*
     How values are given: a cic_sample_kind.
     */
    uint32_t kind;
    /*
     n panel indices, strictly increasing; genes that are not listed are zero. Not read for dense
     samples.
     */
    const uint32_t *genes;
    /*
     n values of the type that kind tells, aligned for it.
     */
    const void *values;
    /*
     How many; for dense samples all genes of the panel.
     */
    size_t n;
    /*
     1 where total_counts or total_value is set, for profiles with CIC_LIBRARY_ALL_MEASURED; else 0.
     */
    uint32_t has_total;
    /*
     Sum over all measured genes, of counts.
     */
    uint32_t total_counts;
    /*
     Sum over all measured genes, of values.
     */
    float total_value;
    /*
     0
     */
    uint32_t reserved;
} cic_sample;

/*
 A leaf and its probability.
 */
typedef struct cic_top_leaf {
    /*
     Index of the leaf, see cic_leaf_name.
     */
    uint32_t leaf;
    /*
     Its probability times 65536.
     */
    uint32_t probability_q16;
} cic_top_leaf;

/*
 What came out of one cell. Set struct_size to sizeof(cic_result) before the call; the rest is written
 by it. Pointers lead into the scratch, and hold until the scratch is used again.
 */
typedef struct cic_result {
    /*
     Bytes of this struct that the caller knows.
     */
    uint32_t struct_size;
    /*
     Why the cell is not named: a cic_reject, 0 for a cell that is. Later libraries may have more of
     them.
     */
    uint32_t reject;
    /*
     Sum of the counts over the panel; 0 for samples that are not counts.
     */
    uint64_t n_counts;
    /*
     Genes of the panel that are not zero.
     */
    uint32_t n_genes;
    /*
     Where a status is about one entry of a sample: its position. Else 0.
     */
    uint32_t position;
    /*
     code_dim numbers; null where nothing could be computed, as for an empty cell.
     */
    const int16_t *code;
    /*
     code_dim levels, 0 to 127: the copy of the code that the classifier reads. Null with code.
     */
    const uint8_t *code_levels;
    /*
     n_leaves logits times 65536. Null with code, and after cic_encode.
     */
    const int32_t *logits_q16;
    /*
     n_leaves probabilities times 65536. Null with logits_q16.
     */
    const uint32_t *probabilities_q16;
    /*
     Dimensions of the code; 0 where it is null.
     */
    uint32_t code_dim;
    /*
     Leaves; 0 where logits_q16 is null.
     */
    uint32_t n_leaves;
    /*
     Entries of top that are set.
     */
    uint32_t n_top;
    /*
     0
     */
    uint32_t reserved;
    /*
     The leaves of largest logit, best first, also of a cell that is not named.
     */
    struct cic_top_leaf top[CIC_MAX_TOP];
} cic_result;

/*
 What a model says about itself. Set struct_size to sizeof(cic_info) before cic_model_info.
 */
typedef struct cic_info {
    /*
     Bytes of this struct that the caller knows.
     */
    uint32_t struct_size;
    /*
     Genes of the panel; gene indices are below.
     */
    uint32_t n_genes;
    /*
     Dimensions of the code.
     */
    uint32_t code_dim;
    /*
     Leaf labels; 0 without a classifier.
     */
    uint32_t n_leaves;
    /*
     Input profiles, at least 1.
     */
    uint32_t n_profiles;
    /*
     Golden cells that cic_self_test runs.
     */
    uint32_t n_golden_cells;
    /*
     Their input profile.
     */
    uint32_t golden_profile;
    /*
     Bytes of scratch that a call needs.
     */
    uint32_t scratch_len;
    /*
     Bytes of correction that cic_presence_open needs.
     */
    uint32_t correction_len;
    /*
     Smallest sum over the panel's genes of a cell that is named, in counts.
     */
    uint32_t min_counts;
    /*
     Smallest number of panel genes above zero of a cell that is named.
     */
    uint32_t min_genes;
    /*
     Smallest share of the panel that a file has to have, times 65536.
     */
    uint32_t min_coverage_q16;
    /*
     Smallest probability of the best leaf of a cell that is named, times 65536.
     */
    uint32_t min_confidence_q16;
    /*
     1 after cic_open, 0 after cic_open_unverified.
     */
    uint32_t is_verified;
    /*
     SHA-256 of the model's content; the same for every layout of its weights.
     */
    uint8_t model_id[32];
    /*
     code_dim scales, in the model: a number of the code times the scale of its dimension is what it
     stands for.
     */
    const float *code_scales;
} cic_info;

/*
 An input profile. Set struct_size to sizeof(cic_profile) before cic_profile_info.
 */
typedef struct cic_profile {
    /*
     Bytes of this struct that the caller knows.
     */
    uint32_t struct_size;
    /*
     What the profile takes: a cic_values.
     */
    uint32_t values;
    /*
     Which sum divides the values: a cic_library.
     */
    uint32_t library;
    /*
     What they are scaled to after that.
     */
    uint32_t target_sum;
    /*
     Its name in UTF-8, in the model, without a zero byte at the end.
     */
    const char *name;
    /*
     Bytes of the name.
     */
    size_t name_len;
} cic_profile;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Version of the interface of the library that is linked, to be compared with CIC_ABI_VERSION of the
 header.
 */
uint32_t cic_abi_version(void);

/*
 Encodes one cell: its code, without logits and labels. The code is the one that cic_classify gives, and
 the same on every processor.

 profile: index of the input profile, mostly 0.
 presence: of files that lack genes of the panel; null for those that have all.
 scratch: scratch_len bytes, see cic_scratch_len, at a multiple of 4. What they held does not matter.
 result: written, with nothing but position on any other status than CIC_STATUS_OK.

 # Safety
 - A cic_model is at model, with the bytes that it was opened on; at presence null, or a cic_presence
   with its mask and correction.
 - A cic_sample of sample->struct_size bytes is at sample, and its pointers lead to as many elements as
   it says. Nobody writes them during the call.
 - scratch_len bytes are at scratch, and a cic_result of result->struct_size bytes at result, apart from
   each other and from all of the above. Nobody else uses them during the call.
 */
cic_status cic_encode(const struct cic_model *model,
                      uint32_t profile,
                      const struct cic_presence *presence,
                      const struct cic_sample *sample,
                      uint32_t *scratch,
                      size_t scratch_len,
                      struct cic_result *result);

/*
 Types one cell: code, logits, probabilities, the most probable leaves, and whether it is named. The
 numbers are the same on every processor. A cell that is not named is no error: reject tells why.
 Otherwise like cic_encode.

 # Safety
 - Those of cic_encode.
 */
cic_status cic_classify(const struct cic_model *model,
                        uint32_t profile,
                        const struct cic_presence *presence,
                        const struct cic_sample *sample,
                        uint32_t *scratch,
                        size_t scratch_len,
                        struct cic_result *result);

/*
 Opens a model after checking its structure, the SHA-256 of every byte, the range of its weights and
 that no sum can overflow. Takes one pass over the bytes. On any other status than CIC_STATUS_OK the
 model is not open.

 bytes: len bytes that begin at a multiple of 4, and stay as they are for as long as the model is used.
 Nothing of the weights is copied: they may lie in flash.
 model: written.

 # Safety
 - len bytes are at bytes, and nobody writes them for as long as the model is used.
 - A cic_model is at model, and nobody else uses it during the call.
 */
cic_status cic_open(const uint8_t *bytes,
                    size_t len,
                    struct cic_model *model);

/*
 Opens a model after checking its structure and the digest of its metadata alone, in a time that does
 not depend on the number of weights. Whatever the weights hold, running the model stays within its
 bytes; whether they are those that were trained is not known. Otherwise like cic_open.

 # Safety
 - Those of cic_open.
 */
cic_status cic_open_unverified(const uint8_t *bytes,
                               size_t len,
                               struct cic_model *model);

/*
 Tells what a model says about itself.

 # Safety
 - A cic_model is at model, with the bytes that it was opened on.
 - A cic_info of info->struct_size bytes is at info, and nobody else uses it during the call.
 */
cic_status cic_model_info(const struct cic_model *model, struct cic_info *info);

/*
 Bytes of scratch that cic_encode, cic_classify and cic_self_test need; 0 for a model that is not open.

 # Safety
 - A cic_model is at model, with the bytes that it was opened on.
 */
size_t cic_scratch_len(const struct cic_model *model);

/*
 Tells what an input profile takes.

 # Safety
 - A cic_model is at model, with the bytes that it was opened on.
 - A cic_profile of info->struct_size bytes is at info, and nobody else uses it during the call.
 */
cic_status cic_profile_info(const struct cic_model *model,
                            uint32_t profile,
                            struct cic_profile *info);

/*
 Runs the golden cells that the model carries, and compares their codes and logits with what the model
 states, bit for bit: whether this build on this processor computes what it should.

 scratch: scratch_len bytes, see cic_scratch_len, at a multiple of 4. What they held does not matter.
 n_run: how many cells were run, the one that differs among them. May be null.

 Returns CIC_STATUS_GOLDEN_DIFFERS after the first cell that gave another result, and
 CIC_STATUS_NO_GOLDEN_CELLS where the model carries none.

 # Safety
 - A cic_model is at model, with the bytes that it was opened on.
 - scratch_len bytes are at scratch, a uint32_t at n_run, and nobody else uses them during the call.
 */
cic_status cic_self_test(const struct cic_model *model,
                         uint32_t *scratch,
                         size_t scratch_len,
                         uint32_t *n_run);

/*
 Prepares files that lack genes of the panel: their fill values stand for the missing genes. Made once
 for all cells of a file. On any other status than CIC_STATUS_OK the presence is not open.

 mask: n_genes bytes, as many as the panel has genes, each 1 for a gene that the file has, or 0.
 correction: correction_len bytes, at least those that cic_info tells, at a multiple of 4. Written.
 Both stay as they are for as long as the presence is used.
 presence: written.

 # Safety
 - A cic_model is at model, with the bytes that it was opened on.
 - n_genes bytes are at mask, correction_len bytes at correction and a cic_presence at presence, apart
   from each other. Nobody else uses them during the call, and nobody writes mask and correction for as
   long as the presence is used.
 */
cic_status cic_presence_open(const struct cic_model *model,
                             uint32_t profile,
                             const uint8_t *mask,
                             size_t n_genes,
                             uint32_t *correction,
                             size_t correction_len,
                             struct cic_presence *presence);

/*
 Name of a leaf.

 text: set to its UTF-8, which lies in the model and has no zero byte at the end.
 len: set to its bytes; 0 for a name that the model lacks.

 # Safety
 - A cic_model is at model, with the bytes that it was opened on.
 - A pointer is at text and a size_t at len, and nobody else uses them during the call.
 */
cic_status cic_leaf_name(const struct cic_model *model,
                         uint32_t leaf,
                         const char **text,
                         size_t *len);

/*
 Ontology id of a leaf, such as CL:0000236. Otherwise like cic_leaf_name.

 # Safety
 - Those of cic_leaf_name.
 */
cic_status cic_leaf_ontology_id(const struct cic_model *model,
                                uint32_t leaf,
                                const char **text,
                                size_t *len);

/*
 Id of a gene of the panel, such as an Ensembl id. Otherwise like cic_leaf_name.

 # Safety
 - Those of cic_leaf_name.
 */
cic_status cic_gene_id(const struct cic_model *model,
                       uint32_t gene,
                       const char **text,
                       size_t *len);

/*
 Symbol of a gene of the panel. Otherwise like cic_leaf_name.

 # Safety
 - Those of cic_leaf_name.
 */
cic_status cic_gene_symbol(const struct cic_model *model,
                           uint32_t gene,
                           const char **text,
                           size_t *len);

/*
 What a status means, in English.

 Never null: ASCII that ends with a zero byte and stays for ever. Values that are no status have a text
 that says so.
 */
const char *cic_status_text(int32_t status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CIC_H */
