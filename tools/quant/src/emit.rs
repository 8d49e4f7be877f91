//! Models as source code, for firmware without files: an aligned constant with what it is written above it.

use std::fmt::{self, Write};

use cic_model::{Dtype, Model};
use cic_runtime::S8Session;

/// A language that models are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A module with `pub static NAME: &[u8]`.
    Rust,
    /// C99 and C++11: `static const uint8_t NAME[]` and `NAME_len`.
    C,
}

/// The source code of a model's bytes, `[len]`, under a name, which is a file's or any other. The same bytes give
/// the same text, without date or place. `model` is these bytes, opened.
pub fn emit(language: Language, bytes: &[u8], model: &Model<'_>, name: &str) -> String {
    let name = identifier(name);
    let written = match language {
        Language::Rust => rust(bytes, model, &name.to_uppercase()),
        Language::C => c(bytes, model, &name),
    };
    // Writing to a string cannot fail.
    written.unwrap_or_default()
}

fn rust(bytes: &[u8], model: &Model<'_>, name: &str) -> Result<String, fmt::Error> {
    let mut text = String::new();
    describe(&mut text, "//!", bytes, model)?;
    let len = bytes.len();
    write!(
        text,
        "\n/// The model: `cic_model::Model::open_verified({name})`.\n\
         pub static {name}: &[u8] = &ALIGNED.0;\n\n\
         #[repr(C, align(64))]\nstruct Aligned([u8; {len}]);\n\n\
         #[rustfmt::skip]\nstatic ALIGNED: Aligned = Aligned(*b\"\\\n"
    )?;
    for line in bytes.chunks(24) {
        for byte in line {
            write!(text, "\\x{byte:02x}")?;
        }
        text.push_str("\\\n");
    }
    text.push_str("\");\n");
    Ok(text)
}

fn c(bytes: &[u8], model: &Model<'_>, name: &str) -> Result<String, fmt::Error> {
    let mut text = String::new();
    describe(&mut text, "//", bytes, model)?;
    let len = bytes.len();
    write!(
        text,
        "\n#include <stddef.h>\n#include <stdint.h>\n\n\
         #if defined(__cplusplus)\n#define CIC_ALIGNED alignas(64)\n\
         #elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L\n\
         #define CIC_ALIGNED _Alignas(64)\n\
         #else\n#define CIC_ALIGNED __attribute__((aligned(64)))\n#endif\n\n\
         static const size_t {name}_len = {len};\n\
         CIC_ALIGNED static const uint8_t {name}[{len}] = {{\n"
    )?;
    for line in bytes.chunks(16) {
        let line: Vec<String> = line.iter().map(|byte| format!("0x{byte:02x}")).collect();
        writeln!(text, "    {},", line.join(", "))?;
    }
    text.push_str("};\n\n#undef CIC_ALIGNED\n");
    Ok(text)
}

/// Lines of comment that say what the model is and needs.
fn describe(
    text: &mut String,
    comment: &str,
    bytes: &[u8],
    model: &Model<'_>,
) -> Result<(), fmt::Error> {
    writeln!(text, "{comment} A model of cell identity codes, written by cic-quantize.")?;
    writeln!(text, "{comment}")?;
    let mut line = |key: &str, value: &dyn fmt::Display| {
        writeln!(text, "{comment} {}: {}", printable(key), printable(&value.to_string()))
    };
    line("model id", &model.id())?;
    // Those at the end of the file, which cover all before them.
    let digest = bytes.last_chunk::<32>().map_or(&[][..], |digest| digest);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    line("SHA-256 of all but the last 32 bytes", &digest)?;
    line("bytes", &bytes.len())?;
    line("number format", &model.dtype().name())?;
    line("genes", &model.n_genes())?;
    line("code dimensions", &model.code_dim())?;
    line("cell types", &model.n_leaves())?;
    if model.dtype() == Dtype::S8
        && let Ok(session) = S8Session::new(model, 0)
    {
        line("bytes of scratch on a processor without vectors", &session.scratch_len())?;
    }
    for (key, value) in model.provenance().iter() {
        line(key, &value)?;
    }
    Ok(())
}

/// Without what would end a line or, at the end of one, go on with it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '\\' { ' ' } else { c }).collect()
}

/// Letters, digits and underscores, no digit first.
fn identifier(name: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mut word: String = name.chars().map(|c| if is_word(c) { c } else { '_' }).collect();
    if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
        word.insert_str(0, "model_");
    }
    let word = word.to_lowercase();
    if RESERVED.contains(&word.as_str()) { format!("model_{word}") } else { word }
}

/// Words that neither C nor C++ take as the name of a constant, and `main`.
const RESERVED: [&str; 53] = [
    "alignas",
    "alignof",
    "asm",
    "auto",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "constexpr",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "main",
    "namespace",
    "new",
    "operator",
    "private",
    "protected",
    "public",
    "register",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "template",
    "this",
    "true",
    "typedef",
    "union",
    "unsigned",
    "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_an_identifier() {
        assert_eq!(identifier("PBMC-3k int8"), "pbmc_3k_int8");
        assert_eq!(identifier("3k"), "model_3k");
        assert_eq!(identifier(""), "model_");
        assert_eq!(identifier("int"), "model_int");
        assert_eq!(identifier("Zellen\u{e4}"), "zellen_");
    }

    #[test]
    fn no_provenance_ends_its_comment() {
        assert_eq!(printable("a\nb\\"), "a b ");
    }
}
