//! What the host has set up.

use std::{
    io,
    mem::{size_of, zeroed},
    os::fd::{FromRawFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_map_type};
use nix::{
    sys::statfs::{FsType, statfs},
    unistd::{AccessFlags, access},
};

use super::Check;
use crate::control::RuntimeDir;

const HOST: &str = "host";
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC`
const BPFFS_MAGIC: FsType = FsType(0xcafe_4a11);

pub(super) fn checks() -> Vec<Check> {
    vec![bpffs(), runtime_dir()]
}

fn bpffs() -> Check {
    match statfs(BPFFS) {
        Ok(fs) if fs.filesystem_type() == BPFFS_MAGIC => {
            Check::ok(HOST, "bpffs", format!("mounted at {BPFFS}"))
        }
        Ok(_) => Check::warn(
            HOST,
            "bpffs",
            format!("not mounted at {BPFFS}; `vnet-gw run` mounts it"),
            format!("mount -t bpf bpf {BPFFS}"),
        ),
        Err(error) => Check::fail(
            HOST,
            "bpffs",
            format!("{BPFFS}: {error}"),
            "mount -t sysfs sysfs /sys",
        ),
    }
}

fn runtime_dir() -> Check {
    let dir = Path::new(RuntimeDir::PATH);
    let there = dir.exists();
    let asked = if there {
        dir
    } else {
        dir.parent().unwrap_or(dir)
    };
    match access(asked, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if there => Check::ok(
            HOST,
            "runtime-dir",
            format!("{} is writable", dir.display()),
        ),
        Ok(()) => Check::ok(
            HOST,
            "runtime-dir",
            format!("{} can be made", dir.display()),
        ),
        Err(error) => Check::fail(
            HOST,
            "runtime-dir",
            format!("{}: {error}", asked.display()),
            format!("run as root, or install -d -o $USER {}", dir.display()),
        ),
    }
}

/// Makes a small array map, to see whether the kernel takes its flags.
pub(super) fn create_array(flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: a union of integers; all zeroes is a value of each.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.__bindgen_anon_1.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    attr.__bindgen_anon_1.key_size = 4;
    attr.__bindgen_anon_1.value_size = 8;
    attr.__bindgen_anon_1.max_entries = 1;
    attr.__bindgen_anon_1.map_flags = flags;
    let command = bpf_cmd::BPF_MAP_CREATE as libc::c_long;
    // SAFETY: the attribute is live, of the size given, and holds no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<bpf_attr>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
