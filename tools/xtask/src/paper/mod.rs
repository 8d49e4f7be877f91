//! `cargo xtask paper`: every experiment of the paper on the data sets here, and `docs/paper.md` with what they print.

mod contest;
mod page;
pub mod quantising;
pub mod sets;
pub mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::page::Page;
use self::sets::Set;
use crate::{command, workspace};

/// Options of `cargo xtask paper`.
#[derive(clap::Args)]
pub struct Args {
    /// Run what an earlier run has finished once more
    #[arg(long)]
    pub fresh: bool,
}

/// Runs what has no result yet, and writes the page.
pub fn run(args: &Args) -> Result<()> {
    let paper = Paper::open(args, "paper")?;
    fs::create_dir_all(&paper.figures).context("making room for figures")?;
    let mut page = Page::default();
    page.text(include_str!("introduction.md"));
    contest::section(&paper, &mut page)?;
    reproduction(&paper, &mut page)?;
    replicates(&paper, &mut page)?;
    unseen(&paper, &mut page)?;
    noise(&paper, &mut page)?;
    architectures(&paper, &mut page)?;
    interpretation(&paper, &mut page)?;
    paper.write(page)
}

/// Programs, data, and where results go.
struct Paper {
    /// Of the page.
    name: &'static str,
    programs: PathBuf,
    root: PathBuf,
    work: PathBuf,
    figures: PathBuf,
}

impl Paper {
    /// Builds the programs, and makes room for the results of the page of that name.
    fn open(args: &Args, name: &'static str) -> Result<Self> {
        let mut cargo = workspace::cargo();
        command::run(cargo.args(["build", "--release", "-p", "cic-tools"]))?;
        let target = workspace::target_dir()?;
        let work = target.join(name);
        if args.fresh && work.is_dir() {
            fs::remove_dir_all(&work).context("removing earlier results")?;
        }
        fs::create_dir_all(&work).context("making room for results")?;
        let figures = workspace::root().join("docs").join(name);
        Ok(Self { name, programs: target.join("release"), root: sets::root()?, work, figures })
    }

    /// Writes the page.
    fn write(&self, page: Page) -> Result<()> {
        let path = workspace::root().join("docs").join(self.name).with_extension("md");
        fs::write(&path, page.finish()).with_context(|| format!("writing {}", path.display()))?;
        println!("{} written", path.display());
        Ok(())
    }

    /// What a program prints; kept under this name, so that an interrupted run goes on.
    fn output(&self, name: &str, program: &str, arguments: &[String]) -> Result<String> {
        let kept = self.work.join(name);
        if let Ok(text) = fs::read_to_string(&kept) {
            return Ok(text);
        }
        let text = command::capture(Command::new(self.programs.join(program)).args(arguments))?;
        fs::write(&kept, &text).with_context(|| format!("writing {}", kept.display()))?;
        Ok(text)
    }

    /// The command as anyone would type it.
    fn shown(&self, program: &str, arguments: &[String]) -> String {
        let root = self.root.display().to_string();
        let (work, figures) = (self.work.display().to_string(), self.figures.display().to_string());
        let words = arguments.iter().map(|word| {
            let word = word
                .replace(&root, "DATA")
                .replace(&figures, "docs/paper")
                .replace(&format!("{work}/"), "");
            if word.contains([' ', '|']) { format!("'{word}'") } else { word }
        });
        format!("{program} {}", words.collect::<Vec<_>>().join(" "))
    }

    /// A command and what it prints, on the page.
    fn show(&self, page: &mut Page, name: &str, arguments: &[String]) -> Result<()> {
        let text = self.output(name, "cic", arguments)?;
        page.command(&self.shown("cic", arguments), &text);
        Ok(())
    }

    /// A model trained on the training rows of the stored split.
    fn model(&self, set: &Set, name: &str, further: &[&str]) -> Result<PathBuf> {
        let path = self.work.join(name);
        if !path.is_file() {
            let mut train = Command::new(self.programs.join("cic"));
            train.arg("train").arg(set.file(&self.root, &self.work)?);
            train.args(set.arguments(&self.root)).args(set.split(&self.root)).args(further);
            command::run(train.arg("--output").arg(&path).arg("--quiet"))?;
        }
        Ok(path)
    }

    fn quantized(&self, set: &Set, model: &Path, to: &str, further: &[&str]) -> Result<PathBuf> {
        self.quantized_as(set, model, &model.with_extension(format!("{to}.cic")), to, further)
    }

    /// The same, in a file of that name.
    fn quantized_as(
        &self,
        set: &Set,
        model: &Path,
        path: &Path,
        to: &str,
        further: &[&str],
    ) -> Result<PathBuf> {
        if !path.is_file() {
            let mut quantize = Command::new(self.programs.join("cic-quantize"));
            quantize.arg(model).arg("--calibrate").arg(set.file(&self.root, &self.work)?);
            if let Some(kind) = set.arguments(&self.root).iter().position(|word| word == "--kind") {
                quantize.args(&set.arguments(&self.root)[kind..kind + 2]);
            }
            if !to.is_empty() {
                quantize.args(["--to", to]);
            }
            command::run(quantize.args(further).arg("--output").arg(path).arg("--quiet"))?;
        }
        Ok(path.to_owned())
    }

    /// Program arguments: a command, the data, labels and stored split, and what follows.
    fn arguments(&self, command: &str, set: &Set, further: &[&str]) -> Result<Vec<String>> {
        let file = set.file(&self.root, &self.work)?.display().to_string();
        let mut all = vec![command.to_owned(), file];
        all.extend(set.arguments(&self.root));
        all.extend(set.split(&self.root));
        all.extend(further.iter().map(|word| (*word).to_owned()));
        Ok(all)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn reproduction(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("reproduction.md"));
    for name in
        ["tissue-189x500", "gnf-atlas-replicates", "sarcoma-u133a", "cell-lines-li", "pbmc3k"]
    {
        let set = Set::named(name)?;
        let model = paper.model(set, &format!("{name}.cic"), &[])?;
        let arguments = paper.arguments("reproduce", set, &["--model", &text(&model)])?;
        page.heading(name);
        paper.show(page, &format!("reproduce-{name}.txt"), &arguments)?;
    }
    Ok(())
}

fn replicates(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("replicates.md"));
    let gnf = Set::named("gnf-atlas-replicates")?;
    let model = paper.model(gnf, "gnf-all-genes.cic", &["--genes", "all"])?;
    let further = ["--model", &text(&model), "--replicates", "tissue"];
    paper.show(page, "replicates-gnf.txt", &paper.arguments("reproduce", gnf, &further)?)?;
    for which in ["celseq2", "sortseq"] {
        let file = paper.root.join(format!("rna-mixture-replicates/rna-mixture-{which}.h5ad"));
        let model = paper.work.join(format!("rna-{which}.cic"));
        let file = text(&file);
        if !model.is_file() {
            let mut train = Command::new(paper.programs.join("cic"));
            train.args(["train", &file, "--labels", "mix", "--quiet", "--output"]).arg(&model);
            command::run(&mut train)?;
        }
        let arguments: Vec<String> = [
            "reproduce",
            &file,
            "--labels",
            "mix",
            "--model",
            &text(&model),
            "--replicates",
            "mix,mRNA_amount_pg",
        ]
        .map(str::to_owned)
        .into();
        paper.show(page, &format!("replicates-{which}.txt"), &arguments)?;
    }
    Ok(())
}

fn unseen(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("unseen.md"));
    for name in ["gnf-atlas-replicates", "pbmc3k"] {
        let set = Set::named(name)?;
        page.heading(name);
        paper.show(
            page,
            &format!("unseen-{name}.txt"),
            &paper.arguments("unseen", set, &["-q"])?,
        )?;
    }
    Ok(())
}

fn noise(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("noise.md"));
    let set = Set::named("pbmc3k")?;
    let plain = paper.model(set, "pbmc3k.cic", &[])?;
    let half = paper.quantized(set, &plain, "f16", &[])?;
    let small = paper.quantized(set, &plain, "int8", &[])?;
    let dropped = paper.model(set, "pbmc3k-dropped.cic", &["--set", "gene_dropout=0.9"])?;
    let thinned = paper.model(set, "pbmc3k-thinned.cic", &["--set", "thinning=0.9"])?;
    let models = [plain, half, small, dropped, thinned].map(|path| text(&path));
    let further: Vec<&str> =
        models.iter().flat_map(|path| ["--model", path.as_str()]).chain(["-q"]).collect();
    paper.show(page, "noise-pbmc3k.txt", &paper.arguments("noise", set, &further)?)
}

fn architectures(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("architectures.md"));
    let arrays = "gnf-atlas-replicates";
    for (data, name, what, further) in [
        (
            arrays,
            "activations",
            "The paper's network with six activations",
            "--preset paper --folds 3 --try activation=relu|sigmoid|log_sigmoid|tanh|soft_plus|soft_shrink",
        ),
        (
            arrays,
            "codes",
            "The paper's network, codes of 10 to 100",
            "--preset paper --folds 3 --try code=10|20|30|50|70|100",
        ),
        (
            arrays,
            "shapes",
            "Our network, depth and width",
            "--try hidden=none|32|128|512|256,128 --try linear_skip=true|false",
        ),
        (
            arrays,
            "ours",
            "Our network with six activations",
            "--try activation=relu|sigmoid|log_sigmoid|tanh|soft_plus|soft_shrink",
        ),
        (
            arrays,
            "disturbed",
            "Our network, dropout, mixing, loss weight",
            "--try input_dropout=0|0.2 --try mixup=0|0.3 --try lambda_class=0.1|1",
        ),
        (arrays, "inputs-arrays", "Logarithms or ranks", "--try ranks=false|true"),
        ("pbmc3k", "inputs-cells", "Counts or ranks", "--try ranks=false|true"),
        (
            "pbmc3k",
            "losses-cells",
            "Lost counts, lost genes",
            "--try thinning=0|0.5 --try gene_dropout=0|0.5",
        ),
        (
            "pbmc3k",
            "classes",
            "Balanced classes, smoothed labels",
            "--try class_weights=none|balanced --try label_smoothing=0|0.05|0.1",
        ),
    ] {
        let plot = paper.figures.join(format!("{name}.svg"));
        let further: Vec<&str> = further.split_whitespace().collect();
        let plotted = text(&plot);
        let set = Set::named(data)?;
        // Whole groups are held out where there are any.
        let groups = set.division(&paper.root);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let further = [further.as_slice(), &groups, &["--plot", &plotted, "-q"]].concat();
        page.heading(what);
        let kept = format!("sweep-{name}.txt");
        if !plot.is_file() && paper.work.join(&kept).is_file() {
            bail!("{} is gone: run with --fresh", plot.display());
        }
        paper.show(page, &kept, &paper.arguments("sweep", set, &further)?)?;
        page.figure(&format!("paper/{name}.svg"), what);
    }
    Ok(())
}

fn interpretation(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("interpretation.md"));
    let set = Set::named("pbmc3k")?;
    let model = paper.model(set, "pbmc3k.cic", &[])?;
    let sets = ["hallmark_v7.0.gmt", "reactome_msigdb_v6.2.gmt.gz"];
    let sets = sets.map(|file| text(&paper.root.join("gene-sets").join(file)));
    let mut arguments = vec!["explain".to_owned(), text(&set.file(&paper.root, &paper.work)?)];
    arguments.extend(["--labels".into(), "cell_type".into(), "--model".into(), text(&model)]);
    arguments.extend(sets.into_iter().flat_map(|file| ["--gmt".to_owned(), file]));
    arguments.extend(["--dimensions".into(), "0,1,2,3,4,5".into()]);
    paper.show(page, "explain-pbmc3k.txt", &arguments)
}
