//! Packages of other suites of Debian's, by apt with a configuration of its own: the machine's stays
//! as it is, and so do its package lists.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{step, tree};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt that knows one suite and keeps everything in one directory.
pub(crate) struct Apt {
    dir: PathBuf,
}

impl Apt {
    pub(crate) fn new(suite: &str, dir: PathBuf) -> Result<Self> {
        ensure!(
            Path::new(KEYRING).is_file(),
            "{KEYRING} is missing, which tells Debian's packages from others: install \
             debian-archive-keyring"
        );
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        }
        // What is installed here says nothing about what that kernel needs.
        fs::write(dir.join("status"), "").context("writing a package status")?;
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nTargets: Packages\n\
             Architectures: amd64\nSigned-By: {KEYRING}\n",
            archive()?
        );
        fs::write(dir.join("debian.sources"), source).context("writing a source for apt")?;
        Ok(Self { dir })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// `apt-get ARGS`
    pub(crate) fn get(&self, args: &[&str]) -> Command {
        self.command("apt-get", args)
    }

    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (option, value) in [
            ("Dir::State", "state"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "debian.sources"),
            // There is no such directory, so no source of the machine's own counts.
            ("Dir::Etc::sourceparts", "none"),
        ] {
            command
                .arg("-o")
                .arg(format!("{option}={}", self.dir.join(value).display()));
        }
        // The user that apt downloads as may not be able to enter this tree; signatures are checked
        // whoever downloads.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command.args(args);
        command
    }
}

/// A program of a package of `suite` that needs nothing of that suite to run, unpacked below
/// `target/tools` once: where it is.
pub(crate) fn program(suite: &str, package: &str, path: &str) -> Result<PathBuf> {
    let dir = tree::target()
        .join("tools")
        .join(format!("{suite}-{package}"));
    let binary = dir.join(path);
    if binary.is_file() {
        return Ok(binary);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    let apt = Apt::new(suite, dir.join("apt"))?;
    step::run(
        &format!("reading the package lists of {suite}"),
        &mut apt.get(&["update"]),
    )?;
    let mut download = apt.get(&["download", package]);
    step::run(
        &format!("downloading {package} of {suite}"),
        download.current_dir(apt.dir()),
    )?;
    for entry in fs::read_dir(apt.dir()).context("listing the downloads")? {
        let file = entry.context("listing the downloads")?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            let mut unpack = Command::new("dpkg-deb");
            step::run("unpacking it", unpack.arg("--extract").arg(&file).arg(&dir))?;
        }
    }
    fs::remove_dir_all(apt.dir()).context("removing the downloads")?;
    ensure!(
        binary.is_file(),
        "{package} of {suite} has no {path}: it may have moved; see {}",
        dir.display()
    );
    Ok(binary)
}

/// Where this machine gets Debian's packages from.
fn archive() -> Result<String> {
    let known = || {
        let targets = tree::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN) $(RELEASE) $(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        archive_of(&targets).map(str::to_owned)
    };
    if let Some(found) = known() {
        return Ok(found);
    }
    // The origin is told by the package lists.
    step::run(
        "updating apt's package lists",
        Command::new("apt-get").arg("update"),
    )?;
    known().context("apt has no source for Debian's own packages here: the kernels come from there")
}

/// The suites with a dash, updates and security fixes, may have an archive of their own.
fn archive_of(targets: &str) -> Option<&str> {
    targets.lines().find_map(
        |line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["Debian", release, uri] if !release.contains('-') => Some(uri),
            _ => None,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_that_of_the_release() {
        let targets = "Other nodistro http://other.example/\n\
                       Debian bookworm-security http://security.example/debian-security/\n\
                       Debian bookworm http://mirror.example/debian/\n";
        assert_eq!(archive_of(targets), Some("http://mirror.example/debian/"));
        assert_eq!(archive_of("Ubuntu noble http://ubuntu.example/\n"), None);
        assert_eq!(archive_of(" bookworm http://no-lists-yet.example/\n"), None);
    }
}
