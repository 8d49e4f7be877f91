//! Manual pages and completions for shells, made of the command lines themselves.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::console::{print, tell};
use crate::diff::DiffArgs;
use crate::failure::{EXIT_CODES, Failure};
use crate::output;
use crate::quantize::QuantizeArgs;

/// The command line of `cic-quantize`: options of its main job, or a command of another.
pub fn quantize_command() -> Command {
    let diff = DiffArgs::augment_args(Command::new("diff"))
        .about("Tell what differs between two models on the same cells");
    QuantizeArgs::augment_args(Command::new("cic-quantize"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Quantise a full-precision cell identity code model to int8, mixed or f16")
        .after_help(EXIT_CODES)
        .override_usage(USAGE)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
        .subcommand(diff)
}

const USAGE: &str = "cic-quantize [OPTIONS] <MODEL> --calibrate <DATA> --to <DTYPE> -o <OUT>
       cic-quantize diff [OPTIONS] <A> <B> <DATA>";

/// Options of `cic man`.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Folder for the pages, cic.1, cic-type.1 and so on;
    /// read them with man -l, or install them into
    /// share/man/man1
    #[arg(long, short, value_name = "FOLDER", verbatim_doc_comment)]
    out: PathBuf,
}

/// Options of `cic completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// bash, elvish, fish, powershell or zsh
    #[arg(hide_possible_values = true)]
    shell: Shell,
    /// Of cic-quantize, not of cic
    #[arg(long)]
    quantize: bool,
}

/// Writes a page for each command of `cic`, and for `cic-quantize`.
pub fn man(args: &ManArgs, cic: Command) -> Result<(), Failure> {
    let folder = &args.out;
    fs::create_dir_all(folder).map_err(|error| Failure::output(folder, error))?;
    let mut pages = vec![quantize_command()];
    for command in cic.get_subcommands().filter(|command| !command.is_hide_set()) {
        // Clap keeps names of commands, which these are not known to be.
        let name: &'static str = format!("cic-{}", command.get_name()).leak();
        let usage = format!("cic {}", command.get_name());
        pages.push(command.clone().name(name).bin_name(usage));
    }
    pages.push(cic.disable_help_subcommand(true));
    for page in &pages {
        let path = folder.join(format!("{}.1", page.get_name()));
        let text = render(page).map_err(|error| Failure::output(&path, error))?;
        output::write(&path, |file| file.write_all(&text))?;
    }
    tell(format_args!("{} pages in {}", pages.len(), folder.display()));
    Ok(())
}

/// The sections of a page.
fn render(page: &Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let after = page.get_after_long_help().or_else(|| page.get_after_help());
    let after = after.map(ToString::to_string);
    let has_subcommands = page.has_subcommands();
    let page = Man::new(page.clone()).source(SOURCE).manual("Cell Identity Codes");
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if has_subcommands {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = after {
        text.extend(b".SH DETAILS\n");
        let mut is_list = false;
        for line in after.lines() {
            // Lists keep their columns, sentences are filled.
            if is_list != line.starts_with(' ') {
                is_list = !is_list;
                text.extend(if is_list { b".nf\n" } else { b".fi\n" });
            }
            let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
            // A line that begins with a dot would be a command.
            let guard = if line.starts_with('.') { "\\&" } else { "" };
            text.extend(format!("{guard}{line}\n").into_bytes());
        }
        text.extend(b".fi\n");
    }
    text.extend(SEE_ALSO);
    Ok(text)
}

/// Prints what a shell needs to complete commands and options.
pub fn completions(args: &CompletionsArgs, cic: Command) -> Result<(), Failure> {
    let (mut command, name) = match args.quantize {
        true => (quantize_command(), "cic-quantize"),
        false => (cic, "cic"),
    };
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    print(|out| out.write_all(&text))
}

const SEE_ALSO: &[u8] =
    b".SH SEE ALSO\n\\fBcic\\fR(1), \\fBcic\\-type\\fR(1), \\fBcic\\-verify\\fR(1), \
    \\fBcic\\-check\\fR(1), \\fBcic\\-train\\fR(1), \\fBcic\\-quantize\\fR(1)\n";

const SOURCE: &str = concat!("cic ", env!("CARGO_PKG_VERSION"));
