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

pub(super) fn checks() -> Vec<Check> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    vec![capabilities(effective(&status).unwrap_or(0))]
}

/// The set in the line that begins with `CapEff:`.
fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn capabilities(set: u64) -> Check {
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(_, number, _)| set & 1 << number == 0)
        .map(|(name, _, what)| format!("{name} ({what})"))
        .collect();
    if missing.is_empty() {
        return Check::ok(PROCESS, "capabilities", "all that the daemon needs");
    }
    Check::fail(
        PROCESS,
        "capabilities",
        format!("missing: {}", missing.join(", ")),
        "run as root, or with systemd's AmbientCapabilities=CAP_NET_ADMIN CAP_BPF CAP_PERFMON \
         CAP_SYS_ADMIN",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert_eq!(
            capabilities(effective(status).unwrap()).verdict,
            super::super::Verdict::Ok
        );
        let without = capabilities(0x1ff_ffff_ffff & !(1 << 39));
        assert_eq!(
            without.finding,
            "missing: CAP_BPF (loading programs and making maps)"
        );
    }
}
