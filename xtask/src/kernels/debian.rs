//! Kernels out of Debian's archive.
//!
//! A kernel is kept in `target/kernels/SUITE`; remove that to get the newest of the suite.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{debian::Apt, step, tree};

/// Follows the suite's kernel for virtual machines: small, and veth and pktgen are modules in it.
const META: &str = "linux-image-cloud-amd64";
/// What a kernel package may be split into.
const PARTS: &[&str] = &[
    "linux-image-",
    "linux-base-",
    "linux-binary-",
    "linux-modules-",
];

/// A kernel, unpacked.
pub(super) struct Kernel {
    pub(super) suite: String,
    /// Upstream's: `6.1.176`.
    pub(super) version: String,
    /// As `uname -r` has it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// Holds `modules.dep` and what it names.
    pub(super) modules: PathBuf,
}

/// The kernel of `suite`, downloaded where it is not there yet.
pub(super) fn kernel(suite: &str) -> Result<Kernel> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !suite.is_empty() && suite.chars().all(plain),
        "{suite:?} is no suite of Debian's: give names such as bookworm or trixie-backports"
    );
    let dir = tree::target().join("kernels").join(suite);
    if !dir.join("version").is_file() {
        fetch(suite, &dir)?;
    }
    let version = fs::read_to_string(dir.join("version")).context("reading the version")?;
    let release = release(&dir)?;
    let modules = dir.join("lib/modules").join(&release);
    // Beside its modules since Debian's 7.x.
    let images = [
        dir.join("boot").join(format!("vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ];
    let image = images.into_iter().find(|image| image.is_file());
    Ok(Kernel {
        suite: suite.to_owned(),
        version: version.trim().to_owned(),
        image: image.with_context(|| format!("{} has no vmlinuz", dir.display()))?,
        modules,
        release,
    })
}

/// Makes `dir`, all of it or nothing.
fn fetch(suite: &str, dir: &Path) -> Result<()> {
    let new = dir.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("removing {}", new.display()))?;
    }
    let apt = Apt::new(suite, new.join("apt"))?;
    step::run(
        &format!("reading the package lists of {suite}"),
        &mut apt.get(&["update"]),
    )?;
    let packages = packages(&apt)?;
    let mut download = apt.get(&["download"]);
    download.args(&packages).current_dir(apt.dir());
    step::run(&format!("downloading the kernel of {suite}"), &mut download)?;
    let mut version = None;
    for entry in fs::read_dir(apt.dir()).context("listing the downloads")? {
        let path = entry.context("listing the downloads")?.path();
        if path.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let mut unpack = Command::new("dpkg-deb");
        step::run("unpacking it", unpack.arg("--extract").arg(&path).arg(&new))?;
        version = tree::output(
            Command::new("dpkg-deb")
                .arg("--field")
                .arg(&path)
                .arg("Version"),
        );
    }
    let version = version.context("apt downloaded no package")?;
    // 6.12.107-1, 7.2.12-1~bpo13+1
    let upstream = version.split('-').next().unwrap_or(&version);
    if !new.join("lib").exists() {
        symlink("usr/lib", new.join("lib")).context("linking lib")?;
    }
    let mut depmod = Command::new(tree::find("depmod").context("depmod: install kmod")?);
    depmod.arg("--basedir").arg(&new).arg(release(&new)?);
    step::run("resolving the modules' dependencies", &mut depmod)?;
    fs::remove_dir_all(apt.dir()).context("removing the downloads")?;
    fs::write(new.join("version"), upstream).context("writing the version")?;
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    fs::rename(&new, dir).with_context(|| format!("renaming to {}", dir.display()))
}

/// Of the one kernel below `dir`.
fn release(dir: &Path) -> Result<String> {
    let modules = dir.join("lib/modules");
    let mut found = Vec::new();
    for entry in fs::read_dir(&modules).with_context(|| format!("listing {}", modules.display()))? {
        let name = entry
            .with_context(|| format!("listing {}", modules.display()))?
            .file_name();
        found.push(name.to_string_lossy().into_owned());
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!(
            "{} has {} kernels, not one: remove {}",
            modules.display(),
            found.len(),
            dir.display()
        ),
    }
}

/// The packages that make up the kernel that [`META`] stands for.
fn packages(apt: &Apt) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![META.to_owned()];
    while let Some(package) = open.pop() {
        let listed = tree::output(&mut apt.command("apt-cache", &["depends", &package]))
            .with_context(|| format!("no package {package} in this suite"))?;
        for name in listed
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
        {
            if PARTS.iter().any(|part| name.starts_with(part)) && found.insert(name.to_owned()) {
                open.push(name.to_owned());
            }
        }
    }
    ensure!(
        !found.is_empty(),
        "{META} depends on no kernel in this suite"
    );
    Ok(found)
}
