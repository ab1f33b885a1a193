//! What this process may do.

use std::fs;

use super::Check;

const PROCESS: &str = "process";

/// Name, number (`capabilities(7)`), and what it is for.
const NEEDED: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "attaching programs to devices"),
    ("CAP_BPF", 39, "loading programs and making maps"),
    (
        "CAP_PERFMON",
        38,
        "programs that the verifier lets use pointers freely",
    ),
    (
        "CAP_SYS_ADMIN",
        21,
        "mounting bpffs and opening maps by their id",
    ),
];

/// What VPN gateways need besides.
const NEEDED_FOR_VPN: [(&str, u32, &str); 2] = [
    ("CAP_NET_BIND_SERVICE", 10, "IKE on port 500"),
    ("CAP_NET_RAW", 13, "ESP as protocol 50"),
];

pub(super) fn checks() -> Vec<Check> {
    let all = "all that the daemon needs";
    vec![capabilities(PROCESS, &NEEDED, own(), all)]
}

pub(super) fn vpn_check(subject: &str) -> Check {
    let all = "all that VPN gateways need besides";
    capabilities(subject, &NEEDED_FOR_VPN, own(), all)
}

fn own() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status).unwrap_or(0)
}

/// The set in the line that begins with `CapEff:`.
fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn capabilities(subject: &str, needed: &[(&str, u32, &str)], set: u64, all: &str) -> Check {
    let missing: Vec<&(&str, u32, &str)> = needed
        .iter()
        .filter(|(_, number, _)| set & 1 << number == 0)
        .collect();
    if missing.is_empty() {
        return Check::ok(subject, "capabilities", all);
    }
    let told: Vec<String> = missing
        .iter()
        .map(|(name, _, what)| format!("{name} ({what})"))
        .collect();
    let names: Vec<&str> = needed.iter().map(|(name, ..)| *name).collect();
    Check::fail(
        subject,
        "capabilities",
        format!("missing: {}", told.join(", ")),
        format!(
            "run as root, or with systemd's AmbientCapabilities={}",
            names.join(" ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert_eq!(
            capabilities(PROCESS, &NEEDED, effective(status).unwrap(), "all").verdict,
            super::super::Verdict::Ok
        );
        let without = capabilities(PROCESS, &NEEDED, 0x1ff_ffff_ffff & !(1 << 39), "all");
        assert_eq!(
            without.finding,
            "missing: CAP_BPF (loading programs and making maps)"
        );
    }
}
