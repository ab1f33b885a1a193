//! What on this host is in the way, and how to mend it.
//!
//! Everything here looks only: nothing is attached, mounted or changed, so it may run beside a
//! daemon at work.

mod device;
mod ethtool;
mod genl;
mod host;
mod internet;
mod kernel;
mod netlink;
mod process;
mod vpn;

use std::{fs::File, net::IpAddr, thread};

use nix::sched::{CloneFlags, setns};
use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Ok,
    /// It works, with less than there could be, or with a trap on the way.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `kernel`, `process`, `host`, or `device NAME`.
    pub subject: String,
    pub check: &'static str,
    pub verdict: Verdict,
    pub finding: String,
    /// What to do, as a command where one does it. Nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(subject: &str, check: &'static str, finding: impl Into<String>) -> Self {
        let (subject, finding) = (subject.to_owned(), finding.into());
        Self {
            subject,
            check,
            verdict: Verdict::Ok,
            finding,
            remedy: None,
        }
    }

    fn warn(
        subject: &str,
        check: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self {
            verdict: Verdict::Warn,
            remedy,
            ..Self::ok(subject, check, finding)
        }
    }

    fn fail(
        subject: &str,
        check: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::warn(subject, check, finding, remedy)
        }
    }
}

/// A device to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub device: String,
    /// Where its program runs, if it does: `xdp`, `xdp-generic`, `tcx` or `clsact`.
    pub hook: Option<String>,
}

/// Looks at the host, and at the devices named, or at all but the loopback, and at what gateways at
/// the `public` addresses need; in the network namespace of the process `daemon`, where one is given.
pub fn examine(devices: Option<&[Wanted]>, public: &[IpAddr], daemon: Option<u32>) -> Vec<Check> {
    let mut checks = kernel::checks();
    checks.extend(process::checks());
    checks.extend(host::checks());
    checks.extend(inside(daemon, || {
        let mut checks = device::checks(devices);
        checks.extend(internet::checks());
        if !public.is_empty() {
            checks.extend(vpn::checks(public, daemon.is_some()));
        }
        checks
    }));
    checks
}

/// What `look` finds in the network namespace of a process.
fn inside(process: Option<u32>, look: impl FnOnce() -> Vec<Check> + Send) -> Vec<Check> {
    let namespace = process.and_then(|pid| File::open(format!("/proc/{pid}/ns/net")).ok());
    let Some(namespace) = namespace else {
        return look();
    };
    thread::scope(|scope| {
        // A thread of its own: it is the thread that enters, and it does not come back.
        let inside = scope.spawn(|| match setns(namespace, CloneFlags::CLONE_NEWNET) {
            Ok(()) => look(),
            Err(error) => vec![Check::warn(
                "host",
                "devices",
                format!("the daemon's network namespace cannot be entered: {error}"),
                "run as root: `sudo vnet-gw doctor`",
            )],
        });
        inside.join().unwrap_or_default()
    })
}
