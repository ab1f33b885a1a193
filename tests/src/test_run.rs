//! `BPF_PROG_TEST_RUN`: one packet through a program of the data path.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result, bail};

/// What the program is, and so what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    Xdp,
    Tc,
}

/// What stands beside the packet. The last two are the TC hook's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// In the calling thread's network namespace.
    pub ifindex: u32,
    pub mark: u32,
    /// Of the segments of a super-packet; 0 for any other.
    pub gso_size: u32,
}

/// The program with that name of an instance's programs.
pub fn pinned_program(pins: &Path, name: &str) -> Result<OwnedFd> {
    let programs = pins.join("programs");
    for set in std::fs::read_dir(&programs).with_context(|| programs.display().to_string())? {
        let path = set?.path().join(name);
        if path.exists() {
            let info = aya::programs::ProgramInfo::from_pin(&path)?;
            return Ok(info.fd()?.as_fd().try_clone_to_owned()?);
        }
    }
    bail!("no program {name} is pinned below {}", programs.display())
}

/// `union bpf_attr`, the part for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}

/// `struct xdp_md`
#[repr(C)]
#[derive(Default)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

const BPF_PROG_TEST_RUN: i32 = 10;
/// Offsets in `struct __sk_buff`, and as much of it as has to be given.
const SKB_MARK: usize = 8;
const SKB_IFINDEX: usize = 40;
const SKB_GSO_SIZE: usize = 176;
const SKB_SIZE: usize = 192;
/// How much longer an answer may be than what it answers.
const ROOM: usize = 256;

/// What the program returned, and the packet as it left it.
///
/// # Errors
/// The kernel's, which refuses some packets before any program sees them.
pub fn test_run(
    program: BorrowedFd<'_>,
    hook: Hook,
    beside: Beside,
    packet: &[u8],
) -> io::Result<(u32, Vec<u8>)> {
    let mut out = vec![0u8; packet.len() + ROOM];
    let xdp = XdpMd {
        data_end: packet.len() as u32,
        ingress_ifindex: beside.ifindex,
        ..XdpMd::default()
    };
    let mut skb = [0u32; SKB_SIZE / 4];
    skb[SKB_IFINDEX / 4] = beside.ifindex;
    skb[SKB_MARK / 4] = beside.mark;
    skb[SKB_GSO_SIZE / 4] = beside.gso_size;
    let (context, context_size) = match hook {
        Hook::Xdp => (&raw const xdp as u64, size_of::<XdpMd>()),
        Hook::Tc => (skb.as_ptr() as u64, SKB_SIZE),
    };
    let mut attributes = TestRun {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: packet.len() as u32,
        data_size_out: out.len() as u32,
        data_in: packet.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat: 1,
        ctx_size_in: context_size as u32,
        ctx_in: context,
        ..TestRun::default()
    };
    // SAFETY: every pointer is to memory of the stated size that outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attributes,
            size_of::<TestRun>(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    out.truncate(attributes.data_size_out as usize);
    Ok((attributes.retval, out))
}
