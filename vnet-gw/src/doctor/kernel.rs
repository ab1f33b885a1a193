//! What the kernel can do.

use std::{fs, path::Path};

use aya::{
    maps::MapType,
    programs::{ProgramType, loaded_programs},
    sys::{is_map_supported, is_program_supported},
};
use vnet_gw_common::maps::INNER_FLAGS;

use super::Check;

const KERNEL: &str = "kernel";
const NEWER: &str = "install a newer kernel: 5.15 or later, 6.6 or later for TCX";

pub(super) fn checks() -> Vec<Check> {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let version = parse_release(&release);
    let mut checks = vec![version_check(&release, version)];
    checks.extend([
        program(
            ProgramType::Xdp,
            "xdp",
            "CONFIG_XDP_SOCKETS, CONFIG_BPF_SYSCALL",
        ),
        program(
            ProgramType::SchedClassifier,
            "tc",
            "CONFIG_NET_CLS_BPF, CONFIG_NET_SCH_INGRESS",
        ),
        tcx(version),
        map(MapType::DevMap, "devmap"),
        map(MapType::ArrayOfMaps, "map-in-map"),
        ring_buffer(),
        mmapable(),
        btf(),
        jit(),
        unprivileged(),
        memory(version),
    ]);
    checks
}

/// `6.18.44-cloud` is 6.18.
fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn version_check(release: &str, version: (u32, u32)) -> Check {
    if version >= (5, 15) {
        Check::ok(KERNEL, "version", release)
    } else {
        Check::fail(
            KERNEL,
            "version",
            format!("{release} is older than 5.15"),
            NEWER,
        )
    }
}

fn program(kind: ProgramType, check: &'static str, options: &str) -> Check {
    match is_program_supported(kind) {
        Ok(true) => Check::ok(KERNEL, check, "programs can be loaded"),
        Ok(false) => Check::fail(
            KERNEL,
            check,
            "the kernel does not know this type of program",
            format!("use a kernel with {options}"),
        ),
        Err(error) => Check::fail(
            KERNEL,
            check,
            refused(&error),
            "run as root: `sudo vnet-gw doctor`",
        ),
    }
}

fn map(kind: MapType, check: &'static str) -> Check {
    match is_map_supported(kind) {
        Ok(true) => Check::ok(KERNEL, check, "maps can be made"),
        Ok(false) => Check::fail(
            KERNEL,
            check,
            "the kernel does not know this type of map",
            NEWER,
        ),
        Err(error) => Check::fail(
            KERNEL,
            check,
            refused(&error),
            "run as root: `sudo vnet-gw doctor`",
        ),
    }
}

fn refused(error: &dyn std::error::Error) -> String {
    format!("bpf(2) refuses: {error}")
}

fn tcx(version: (u32, u32)) -> Check {
    if version >= (6, 6) {
        Check::ok(KERNEL, "tcx", "ports at TCX are attached by links")
    } else {
        Check::warn(
            KERNEL,
            "tcx",
            "older than 6.6: clsact filters take the place of TCX links",
            "nothing needs to be done; a kernel from 6.6 on also attaches beside other programs",
        )
    }
}

fn ring_buffer() -> Check {
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => Check::ok(KERNEL, "ring-buffer", "`vnet-gw trace` works"),
        _ => Check::fail(
            KERNEL,
            "ring-buffer",
            "there is none, and the programs need it",
            NEWER,
        ),
    }
}

/// Tables of any size that user space reads and writes through a mapping (kernel 5.10).
fn mmapable() -> Check {
    match super::host::create_array(INNER_FLAGS) {
        Ok(_) => Check::ok(KERNEL, "mmapable-array", "tables can be mapped into memory"),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Check::fail(
            KERNEL,
            "mmapable-array",
            refused(&error),
            "run as root: `sudo vnet-gw doctor`",
        ),
        Err(error) => Check::fail(KERNEL, "mmapable-array", refused(&error), NEWER),
    }
}

fn btf() -> Check {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Check::ok(KERNEL, "btf", "the kernel describes its types")
    } else {
        Check::warn(
            KERNEL,
            "btf",
            "no /sys/kernel/btf/vmlinux: the data path does without",
            "use a kernel with CONFIG_DEBUG_INFO_BTF, so that bpftool shows more",
        )
    }
}

fn jit() -> Check {
    let on = || Check::ok(KERNEL, "jit", "programs run as machine code");
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(text) if text.trim() != "0" => on(),
        Ok(_) => Check::warn(
            KERNEL,
            "jit",
            "programs are interpreted, several times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        // Other network namespaces than the first do not show it; a program that runs tells.
        Err(_)
            if loaded_programs()
                .flatten()
                .any(|program| program.size_jitted() > 0) =>
        {
            on()
        }
        Err(_) => Check::ok(KERNEL, "jit", "not to be seen from this network namespace"),
    }
}

fn unprivileged() -> Check {
    const FILE: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
    match fs::read_to_string(FILE).unwrap_or_default().trim() {
        "0" => Check::warn(
            KERNEL,
            "unprivileged-bpf",
            "every user may load programs; vnet-gw does not need that",
            "sysctl -w kernel.unprivileged_bpf_disabled=2",
        ),
        "" => Check::ok(KERNEL, "unprivileged-bpf", format!("no {FILE}")),
        _ => Check::ok(
            KERNEL,
            "unprivileged-bpf",
            "only privileged processes load programs",
        ),
    }
}

/// Before 5.11 maps count against RLIMIT_MEMLOCK, then against the cgroup's memory.
fn memory(version: (u32, u32)) -> Check {
    if version >= (5, 11) {
        return Check::ok(KERNEL, "memory", "maps count as memory of the cgroup");
    }
    Check::warn(
        KERNEL,
        "memory",
        "maps count against RLIMIT_MEMLOCK",
        "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_numbers() {
        for (release, version) in [
            ("6.18.44-cloud", (6, 18)),
            ("5.4.0-1-amd64", (5, 4)),
            ("6.6", (6, 6)),
            ("6.1-rc3", (6, 1)),
            ("", (0, 0)),
        ] {
            assert_eq!(parse_release(release), version, "{release}");
        }
        assert!((6, 18) > (6, 6) && (5, 4) < (5, 15));
    }
}
