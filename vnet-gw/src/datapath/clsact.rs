//! Filters of the `clsact` qdisc, for kernels without TCX. They persist by themselves, and replacing
//! one in its place is atomic (`cls_bpf` swaps the program under RCU).

use std::{io, mem, path::Path};

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use vnet_gw_common::maps::PROG_TC;

/// Our place among a device's filters, so that we find our own again.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0x5647);

/// Puts the pinned program onto a device. Whether there was none of ours before.
pub(super) fn attach(pin: &Path, device: &str) -> io::Result<bool> {
    match tc::qdisc_add_clsact(device).map_err(tc_error) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    let mut program = SchedClassifier::from_pin(pin).map_err(program_error)?;
    let ours =
        SchedClassifierLink::attached(device, TcAttachType::Ingress, PRIORITY, HANDLE, None)?;
    let (id, new) = match program.attach_to_link(ours).map_err(program_error) {
        Ok(id) => (id, false),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            let options = NlOptions {
                priority: PRIORITY,
                handle: HANDLE,
                classid: None,
            };
            let id = program
                .attach_with_options(
                    device,
                    TcAttachType::Ingress,
                    TcAttachOptions::Netlink(options),
                )
                .map_err(program_error)?;
            (id, true)
        }
        Err(error) => return Err(error),
    };
    // Dropping the link would take the filter off.
    mem::forget(program.take_link(id).map_err(program_error)?);
    Ok(new)
}

/// Takes our filter off a device; whether there was one. The qdisc stays: others may use it.
pub(super) fn detach(device: &str) -> io::Result<bool> {
    match tc::qdisc_detach_program(device, TcAttachType::Ingress, PROG_TC).map_err(tc_error) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// No such filter, no `clsact` (EINVAL, ENOENT), or no such device.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(
            error.raw_os_error(),
            Some(libc::EINVAL | libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)
        )
}

fn tc_error(error: TcError) -> io::Error {
    match error {
        TcError::IoError(error) => error,
        TcError::NetlinkError(error) => match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

fn program_error(error: ProgramError) -> io::Error {
    match error {
        ProgramError::TcError(error) => tc_error(error),
        ProgramError::SyscallError(error) => error.io_error,
        error => io::Error::other(error),
    }
}
