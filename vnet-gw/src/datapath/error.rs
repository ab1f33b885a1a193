//! What can go wrong between us and the kernel: what, where, why, what to do.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    #[error("instance name {0:?}: use 1 to 32 letters, digits, `-` and `_`")]
    InstanceName(String),

    #[error(
        "mounting bpffs at {path}: {source}; run as root, or mount it once: `mount -t bpf bpf {path}`"
    )]
    Bpffs { path: PathBuf, source: io::Error },

    #[error("{path} is on no bpffs: unmount what covers it, so that maps can be pinned there")]
    NotBpffs { path: PathBuf },

    #[error(
        "instance {instance}: another vnet-gw process has it in hand; stop that one first, or choose another `--instance`"
    )]
    Busy { instance: String },

    #[error(
        "instance {instance}: its maps are of ABI version {found}, this vnet-gw has version {expected}; `vnet-gw down --instance {instance}` removes them (its forwarding stops until the next start)"
    )]
    AbiVersion {
        instance: String,
        found: u32,
        expected: u32,
    },

    #[error(
        "instance {instance}: pinned map {map} has {found}, expected {expected}; `vnet-gw down --instance {instance}` removes it"
    )]
    MapShape {
        instance: String,
        map: &'static str,
        found: String,
        expected: String,
    },

    #[error("{operation} {path}: {source}")]
    Pin {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("map {map}: {operation}: {source}{}", hint(.source))]
    Map {
        map: &'static str,
        operation: String,
        source: io::Error,
    },

    #[error(
        "the device {device}, by which probes are sent: {doing}: {source}; probes need the kernel's module tun"
    )]
    Probe {
        device: String,
        doing: String,
        source: io::Error,
    },

    #[error("starting a thread: {0}; let the service have more of them (TasksMax=, `ulimit -u`)")]
    Thread(io::Error),

    #[error("loading the eBPF object: {0}; `vnet-gw doctor` says what this kernel lacks")]
    Object(#[from] Box<aya::EbpfError>),

    #[error("the eBPF object has no program {0}: this vnet-gw was built from mixed sources")]
    NoProgram(&'static str),

    #[error("the kernel refuses program {program}: {source}; `vnet-gw doctor` says what it lacks")]
    Program {
        program: &'static str,
        source: Box<aya::programs::ProgramError>,
    },

    #[error(
        "{what}: {wanted} wanted, {limit} possible; split the configuration over two instances"
    )]
    Capacity {
        what: &'static str,
        wanted: usize,
        limit: usize,
    },

    #[error("networkSecurityGroup {group}: {why}")]
    RuleSet { group: String, why: String },
    #[error("subnet {subnet}: {family} table: {why}")]
    Table {
        subnet: String,
        family: &'static str,
        why: String,
    },

    #[error(
        "resource ids {first} and {second} have the same hash {hash:#018x}; rename one of them"
    )]
    HashCollision {
        first: String,
        second: String,
        hash: u64,
    },

    #[error("asking the kernel for its network devices: {0}")]
    Netlink(io::Error),

    #[error("network interface {0} is no port of this instance")]
    NoSuchPort(String),

    #[error("reading {path}: {source}")]
    Read {
        path: &'static str,
        source: io::Error,
    },
}

/// The usual causes of what bpf(2) answers.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "; run as root (CAP_BPF and CAP_NET_ADMIN)",
        Some(libc::ENOMEM) => "; the kernel has no memory for it: free some, or use fewer routes",
        Some(libc::E2BIG) => "; a limit of the data path is reached",
        _ => "",
    }
}
