//! `cargo xtask fuzz`: builds the targets of `tests/fuzz` with coverage instrumentation and runs
//! them. No sanitizer, so stable Rust does: the parsers are safe code, and what is looked for are
//! panics, overflows, broken promises, hangs and memory that grows. One sends packets through the
//! kernel's programs instead, and has counters of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::{ebpf, packages, step, test, tree};

#[derive(Args)]
pub(crate) struct Options {
    /// The target to run; all of them one after the other without it
    #[arg(value_enum)]
    target: Option<Target>,
    /// Start from the committed corpus alone, as CI does
    #[arg(long)]
    ci: bool,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Target {
    /// IKE messages: reading, writing, decrypting, fragments, proposals
    IkeCodec,
    /// The IKE state machine between honest peers and an attacker
    IkeEndpoint,
    /// ESP packets: forged, replayed, and whatever a true peer may put into one
    EspOpen,
    /// ARM templates, down to the image of the data path
    ArmTemplate,
    /// The API: paths and bodies, against an engine without a data path
    Router,
    /// Security rules as the kernel reads them, against one rule after another
    Nsg,
    /// Packets through the programs that the kernel runs; needs root
    DatapathPacket,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::IkeCodec => "ike_codec",
            Self::IkeEndpoint => "ike_endpoint",
            Self::EspOpen => "esp_open",
            Self::ArmTemplate => "arm_template",
            Self::Router => "router",
            Self::Nsg => "nsg",
            Self::DatapathPacket => "datapath_packet",
        }
    }

    /// The largest input worth trying.
    fn max_len(self) -> u32 {
        match self {
            Self::IkeEndpoint | Self::DatapathPacket => 2_048,
            Self::IkeCodec | Self::EspOpen | Self::Router | Self::Nsg => 8_192,
            Self::ArmTemplate => 65_536,
        }
    }

    /// Scripts are long from the beginning; data grows from short pieces.
    fn len_control(self) -> u32 {
        match self {
            Self::IkeEndpoint => 0,
            _ => 100,
        }
    }

    /// Directories of the repository whose files are good inputs, too.
    fn seeds(self) -> &'static [&'static str] {
        match self {
            Self::ArmTemplate => &["vnet-gw/examples", "vnet-gw/core/tests/fixtures"],
            _ => &[],
        }
    }
}

/// LLVM's coverage counters and comparisons, for libFuzzer to be guided by. Both options are
/// stable; `--target` keeps them away from build scripts.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];
/// Memory past which a target is taken to have a leak, or to let a small input fill it.
const MEMORY_MIB: u32 = 1_024;
/// One input takes no longer than this, in seconds, on however busy a machine.
const TIMEOUT: u32 = 20;

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    // The daemon is built with its programs; one target runs them.
    ebpf::build(None)?;
    // libFuzzer itself is C++.
    packages::ensure(&[("c++", "g++")])?;
    let targets = options
        .target
        .map_or_else(|| Target::value_variants().to_vec(), |target| vec![target]);
    if targets.contains(&Target::DatapathPacket) {
        packages::ensure(packages::LAB)?;
    }
    let binaries = build()?;
    let mut failed = Vec::new();
    for target in targets {
        match fuzz(target, &binaries, options) {
            Ok(outcome) => println!("{:<15} {outcome}", target.name()),
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(target.name());
            }
        }
    }
    if failed.is_empty() {
        println!("fuzz: nothing found");
        return Ok(ExitCode::SUCCESS);
    }
    println!("fuzz: FAILED: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Builds every target, and says where the binaries are.
fn build() -> Result<PathBuf> {
    let host = test::host()?;
    let directory = tree::target().join("fuzz");
    let mut command = tree::cargo();
    command
        .args([
            "build",
            "--release",
            "--locked",
            "--bins",
            "--target",
            &host,
        ])
        .current_dir(tree::root().join("tests/fuzz"))
        .env("CARGO_TARGET_DIR", &directory)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\x1f"))
        .env_remove("RUSTFLAGS");
    step::run("building the fuzz targets", &mut command)?;
    Ok(directory.join(host).join("release"))
}

/// Runs one target. What it tells is how much it did.
fn fuzz(target: Target, binaries: &Path, options: &Options) -> Result<String> {
    let name = target.name();
    let root = tree::root();
    let directory = tree::target().join("fuzz");
    let grown = directory
        .join(if options.ci { "corpus-ci" } else { "corpus" })
        .join(name);
    if options.ci && grown.exists() {
        fs::remove_dir_all(&grown).with_context(|| format!("removing {}", grown.display()))?;
    }
    let artifacts = directory.join("artifacts").join(name);
    for path in [&grown, &artifacts] {
        fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    }
    let log = directory.join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let errors = file
        .try_clone()
        .context("duplicating the log's descriptor")?;

    let mut command = Command::new(binaries.join(name));
    // New inputs go to the first directory, the others are only read.
    command
        .arg(&grown)
        .arg(root.join("tests/fuzz/corpus").join(name));
    command.args(target.seeds().iter().map(|seeds| root.join(seeds)));
    command
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-max_len={}", target.max_len()))
        .arg(format!("-len_control={}", target.len_control()))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .env("RUST_BACKTRACE", "1")
        .stdout(file)
        .stderr(errors);
    let dictionary = root.join("tests/fuzz/dict").join(name);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    eprintln!("{name}: fuzzing for {} s", options.seconds);
    let status = command
        .status()
        .with_context(|| format!("starting {}", binaries.join(name).display()))?;
    let text = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
    let report = Report::read(&String::from_utf8_lossy(&text));
    if !status.success() {
        bail!(
            "{name}: {status}; {}; all it said: {}",
            report.finding(),
            log.display()
        );
    }
    let Some((executed, covered)) = report.executed.zip(report.covered) else {
        bail!("{name} did not tell what it ran: see {}", log.display());
    };
    // Without instrumentation libFuzzer runs blindly, and says so nowhere else.
    if covered == 0 {
        bail!(
            "{name} was built without coverage instrumentation: see {}",
            log.display()
        );
    }
    Ok(format!(
        "{executed} inputs in {} s, {covered} edges covered, nothing found",
        options.seconds
    ))
}

/// What libFuzzer said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    executed: Option<u64>,
    /// Edges that some input reached.
    covered: Option<u64>,
    artifact: Option<String>,
    /// The panic's message, or libFuzzer's own word for what went wrong.
    reason: Vec<String>,
}

impl Report {
    fn read(text: &str) -> Self {
        let mut report = Self::default();
        let mut panicked = false;
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            // `#4096 DONE cov: 812 ft: 1790 corp: …`
            if let Some(at) = words.iter().position(|word| *word == "cov:") {
                report.covered = words.get(at + 1).and_then(|n| n.parse().ok());
            } else if let ["stat::number_of_executed_units:", count] = words[..] {
                report.executed = count.parse().ok();
            } else if let Some((_, path)) = line.split_once("Test unit written to ") {
                report.artifact = Some(path.trim().to_owned());
            } else if line.contains(" panicked at ") || line.contains("ERROR: libFuzzer: ") {
                report.reason.push(line.trim().to_owned());
                panicked = line.contains(" panicked at ");
            } else if panicked {
                report.reason.push(line.trim().to_owned());
                panicked = false;
            }
        }
        report
    }

    fn finding(&self) -> String {
        let reason = self.reason.join(" ");
        match &self.artifact {
            Some(path) => format!("{reason}; the input is {path} (give it to the binary alone)"),
            None => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzer_did_is_read() {
        let report = Report::read(
            "INFO: Loaded 1 modules   (24810 inline 8-bit counters)\n\
             #2\tINITED cov: 3 ft: 3 corp: 1/1b exec/s: 0 rss: 31Mb\n\
             #99\tDONE   cov: 812 ft: 1790 corp: 321/41Kb lim: 4096 exec/s: 33 rss: 90Mb\n\
             stat::number_of_executed_units: 99\n",
        );
        assert_eq!((report.executed, report.covered), (Some(99), Some(812)));
        assert_eq!(report.artifact, None);
    }

    #[test]
    fn a_finding_names_its_input() {
        let report = Report::read(
            "thread '<unnamed>' (7) panicked at src/lib.rs:1:1:\nindex out of bounds\n\
             stack backtrace:\n\
             ==7== ERROR: libFuzzer: deadly signal\n\
             artifact_prefix='target/'; Test unit written to target/crash-12\n",
        );
        assert_eq!(report.artifact.as_deref(), Some("target/crash-12"));
        let finding = report.finding();
        assert!(finding.contains("index out of bounds"), "{finding}");
        assert!(finding.contains("target/crash-12"), "{finding}");
    }
}
