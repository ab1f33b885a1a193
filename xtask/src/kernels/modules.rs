//! The modules that a guest loads, in an order in which each finds what it needs.

use std::{collections::HashSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use super::{debian::Kernel, initramfs::Initramfs};

/// What the test drives; a kernel may have some of it built in.
const WANTED: &[&str] = &["veth", "pktgen", "sch_ingress", "cls_bpf", "act_bpf"];

/// Adds the modules and the file `/modules/order`.
pub(super) fn add(image: &mut Initramfs, kernel: &Kernel) -> Result<()> {
    let read = |name: &str| {
        let path = kernel.modules.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let dependencies = read("modules.dep")?;
    let order = order(&dependencies, &read("modules.builtin")?)?;
    let mut names = String::new();
    for path in &order {
        let module = name(path);
        let bytes = load(&kernel.modules.join(path))?;
        image.bytes(&format!("/modules/{module}.ko"), &bytes, false)?;
        names.push_str(&format!("{module}.ko\n"));
    }
    image.bytes("/modules/order", names.as_bytes(), false)
}

/// Paths out of `modules.dep`: what a module needs stands before it.
fn order<'a>(dependencies: &'a str, builtin: &str) -> Result<Vec<&'a str>> {
    let mut order = Vec::new();
    let mut known = HashSet::new();
    for wanted in WANTED {
        if builtin.lines().any(|path| name(path) == *wanted) {
            continue;
        }
        let line = dependencies.lines().filter_map(|line| line.split_once(':'));
        let Some((path, needs)) = line.into_iter().find(|(path, _)| name(path) == *wanted) else {
            bail!("the kernel has no module {wanted}, and has it not built in");
        };
        // Each after those that it needs, from the last to the first.
        for path in needs.split_whitespace().rev().chain([path]) {
            if known.insert(path) {
                order.push(path);
            }
        }
    }
    Ok(order)
}

/// `kernel/drivers/net/veth.ko.xz` → `veth`
fn name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file)
}

fn load(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension == "ko") {
        return fs::read(path).with_context(|| format!("reading {}", path.display()));
    }
    let output = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .arg(path)
        .output()
        .context("starting xz")?;
    ensure!(
        output.status.success(),
        "{}: xz: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_stands_before_it() {
        let dependencies = "kernel/net/core/pktgen.ko.xz:\n\
                            kernel/drivers/net/veth.ko: kernel/b.ko kernel/a.ko\n\
                            kernel/net/sched/cls_bpf.ko: kernel/a.ko\n\
                            kernel/net/sched/act_bpf.ko:\n";
        let builtin = "kernel/net/sched/sch_ingress.ko\n";
        assert_eq!(
            order(dependencies, builtin).unwrap(),
            [
                "kernel/a.ko",
                "kernel/b.ko",
                "kernel/drivers/net/veth.ko",
                "kernel/net/core/pktgen.ko.xz",
                "kernel/net/sched/cls_bpf.ko",
                "kernel/net/sched/act_bpf.ko",
            ]
        );
        let error = order(dependencies, "").unwrap_err().to_string();
        assert!(error.contains("no module sch_ingress"), "{error}");
    }
}
