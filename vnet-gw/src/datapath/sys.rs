//! bpf(2), as far as aya does not cover it: inner maps of any size, batches over whole maps, links
//! by interface index.

use std::{
    ffi::CString,
    io,
    mem::{size_of, zeroed},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_map_info, bpf_map_type,
    bpf_prog_info,
};

/// All zero: what the kernel expects of fields it is not told about.
fn attr() -> bpf_attr {
    // SAFETY: a union of integers; all zeroes is a value of each.
    unsafe { zeroed() }
}

/// # Safety
/// Every pointer in `attr` is live and as long as the command reads or writes through it.
unsafe fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    let attr: *mut bpf_attr = attr;
    let size = size_of::<bpf_attr>();
    // SAFETY: `attr` is live and of the size given; the pointers in it are the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attr, size) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as RawFd)
    }
}

/// # Safety
/// As [`bpf`], and the command returns a new descriptor.
unsafe fn bpf_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attr) }?;
    // SAFETY: new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// What the kernel says of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapInfo {
    /// A `bpf_map_type`.
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) entries: u32,
    pub(super) flags: u32,
}

/// A new array map of `entries` elements of `value_size` bytes.
pub(super) fn create_array(
    name: &str,
    value_size: usize,
    entries: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = attr();
    attr.__bindgen_anon_1.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    attr.__bindgen_anon_1.key_size = size_of::<u32>() as u32;
    attr.__bindgen_anon_1.value_size = value_size as u32;
    attr.__bindgen_anon_1.max_entries = entries;
    attr.__bindgen_anon_1.map_flags = flags;
    let mut map_name = [0; 16];
    for (to, from) in map_name.iter_mut().take(15).zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    attr.__bindgen_anon_1.map_name = map_name;
    // Before 6.2 the kernel takes a map for unlike the outer map's template, whose types are known,
    // where nothing is known of its own; which types these are it does not compare.
    let types = load_types(value_size as u32)?;
    attr.__bindgen_anon_1.btf_fd = number(types.as_fd());
    attr.__bindgen_anon_1.btf_key_type_id = KEY_TYPE;
    attr.__bindgen_anon_1.btf_value_type_id = VALUE_TYPE;
    // SAFETY: the attribute holds no pointers.
    unsafe { bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attr) }
}

/// Ids in what [`load_types`] loads.
const KEY_TYPE: u32 = 1;
const VALUE_TYPE: u32 = 2;

/// BTF (`Documentation/bpf/btf.rst`) with an integer for the key and, for the value, a struct of
/// `value_size` bytes, all but the first without a name.
fn load_types(value_size: u32) -> io::Result<OwnedFd> {
    const NAMES: &[u8; 16] = b"\0u32\0element\0\0\0\0";
    const HEADER: u32 = 24;
    let (integer, structure) = (1 << 24, 4 << 24 | 1);
    let types = [
        // Name, kind, size, bits.
        1, integer, 4, 32, //
        // Name, kind and number of members, size; name, type and place of the member.
        5, structure, value_size, 0, KEY_TYPE, 0,
    ];
    let length = size_of_val(&types) as u32;
    // Magic number, version and flags; then lengths and offsets of what follows.
    let header = [0x0001_eb9f, HEADER, 0, length, length, NAMES.len() as u32];
    let mut bytes = Vec::new();
    for word in header.iter().chain(&types) {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(NAMES);
    let mut attr = attr();
    attr.__bindgen_anon_7.btf = bytes.as_ptr() as u64;
    attr.__bindgen_anon_7.btf_size = bytes.len() as u32;
    // SAFETY: `bytes` lives until the command is done, and is as long as it says.
    unsafe { bpf_fd(bpf_cmd::BPF_BTF_LOAD, &mut attr) }
}

/// The map with an id, as the lookup in an outer map gives it.
pub(super) fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = attr();
    attr.__bindgen_anon_6.__bindgen_anon_1.map_id = id;
    // SAFETY: the attribute holds no pointers.
    unsafe { bpf_fd(bpf_cmd::BPF_MAP_GET_FD_BY_ID, &mut attr) }
}

/// # Safety
/// `T` is a `bpf_*_info` of integers, none of which the kernel takes for a pointer when it is 0.
unsafe fn info<T: Copy>(fd: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: integers only.
    let mut info: T = unsafe { zeroed() };
    let mut attr = attr();
    attr.info.bpf_fd = number(fd);
    attr.info.info_len = size_of::<T>() as u32;
    attr.info.info = (&raw mut info) as u64;
    // SAFETY: `info` is live and as long as `info_len` says.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

pub(super) fn map_info(fd: BorrowedFd<'_>) -> io::Result<MapInfo> {
    // SAFETY: integers, no pointers.
    let info: bpf_map_info = unsafe { info(fd) }?;
    Ok(MapInfo {
        kind: info.type_,
        id: info.id,
        key_size: info.key_size,
        value_size: info.value_size,
        entries: info.max_entries,
        flags: info.map_flags,
    })
}

pub(super) fn program_id(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: integers; its addresses go with lengths, which are 0.
    Ok(unsafe { info::<bpf_prog_info>(fd) }?.id)
}

/// A key or a value of a map operation, with the size that the kernel assumes.
///
/// # Safety (of the callers below)
/// `key` and `value` point to as many bytes as the map's keys and values have.
unsafe fn element(
    command: bpf_cmd,
    map: BorrowedFd<'_>,
    key: *const u8,
    value: *mut u8,
) -> io::Result<()> {
    let mut attr = attr();
    attr.__bindgen_anon_2.map_fd = number(map);
    attr.__bindgen_anon_2.key = key as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value as u64;
    // SAFETY: the caller's promise.
    unsafe { bpf(command, &mut attr) }.map(drop)
}

/// # Safety
/// `key` and `value` are as long as the map's keys and values (of all CPUs).
pub(super) unsafe fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        element(
            bpf_cmd::BPF_MAP_LOOKUP_ELEM,
            map,
            key.as_ptr(),
            value.as_mut_ptr(),
        )
    }
}

/// # Safety
/// As [`lookup`].
pub(super) unsafe fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    // SAFETY: the caller's promise; the kernel only reads the value.
    unsafe {
        element(
            bpf_cmd::BPF_MAP_UPDATE_ELEM,
            map,
            key.as_ptr(),
            value.as_ptr().cast_mut(),
        )
    }
}

/// # Safety
/// `key` is as long as the map's keys.
pub(super) unsafe fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    // SAFETY: the caller's promise; no value is read.
    unsafe {
        element(
            bpf_cmd::BPF_MAP_DELETE_ELEM,
            map,
            key.as_ptr(),
            std::ptr::null_mut(),
        )
    }
}

/// # Safety
/// `key` (unless absent) and `next` are as long as the map's keys.
pub(super) unsafe fn next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<()> {
    let key = key.map_or(std::ptr::null(), <[u8]>::as_ptr);
    // SAFETY: the caller's promise; no key asks for the first one.
    unsafe { element(bpf_cmd::BPF_MAP_GET_NEXT_KEY, map, key, next.as_mut_ptr()) }
}

/// Reads or writes many elements of an array map; returns how many.
///
/// # Safety
/// `keys` holds room for `count` keys of four bytes and `values` for `count` values of the map.
pub(super) unsafe fn batch(
    command: bpf_cmd,
    map: BorrowedFd<'_>,
    keys: *mut u32,
    values: *mut u8,
    count: usize,
) -> io::Result<usize> {
    let mut token = 0u32;
    let mut attr = attr();
    attr.batch.out_batch = (&raw mut token) as u64;
    attr.batch.keys = keys as u64;
    attr.batch.values = values as u64;
    attr.batch.count = count as u32;
    attr.batch.map_fd = number(map);
    // SAFETY: the caller's promise; an array's token is one key.
    match unsafe { bpf(command, &mut attr) } {
        Ok(_) => {}
        // A lookup that reached the end of the map.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    // SAFETY: an integer in every variant of the union.
    Ok(unsafe { attr.batch.count } as usize)
}

/// What one call read of a hash.
pub(super) struct Batch {
    pub(super) count: usize,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<u32>,
}

/// Reads up to `count` elements of a hash from the kernel's bucket `from` on.
///
/// # Errors
/// Also where `keys` or `values` has no room for so many.
pub(super) fn read_hash(
    map: &OwnedFd,
    from: Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
    count: usize,
) -> io::Result<Batch> {
    let info = map_info(map.as_fd())?;
    if keys.len() < count * info.key_size as usize
        || values.len() < count * (info.value_size as usize).next_multiple_of(8)
    {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let (start, mut next) = (from.unwrap_or(0), 0u32);
    let mut attr = attr();
    if from.is_some() {
        attr.batch.in_batch = (&raw const start) as u64;
    }
    attr.batch.out_batch = (&raw mut next) as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = count as u32;
    attr.batch.map_fd = number(map.as_fd());
    // SAFETY: both buffers hold `count` elements, as was checked, and a hash's position is a number
    // of four bytes.
    let end = match unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) } {
        Ok(_) => false,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Err(error) => return Err(error),
    };
    Ok(Batch {
        // SAFETY: an integer in every variant of the union.
        count: unsafe { attr.batch.count } as usize,
        next: (!end).then_some(next),
    })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

/// Opens what is pinned at `path`.
pub(super) fn object_get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = attr();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: a live string that ends with 0.
    unsafe { bpf_fd(bpf_cmd::BPF_OBJ_GET, &mut attr) }
}

/// Pins a map, program or link at `path`.
pub(super) fn object_pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = attr();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = number(fd);
    // SAFETY: a live string that ends with 0.
    unsafe { bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Detaches a link at once, whoever else holds it.
pub(super) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = attr();
    attr.link_detach.link_fd = number(link);
    // SAFETY: the attribute holds no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr) }.map(drop)
}

/// Attaches a program to an interface; closing the link detaches it, unless it is pinned.
pub(super) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach_type: bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = attr();
    attr.link_create.__bindgen_anon_1.prog_fd = number(program);
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = attach_type as u32;
    attr.link_create.flags = flags;
    // SAFETY: the attribute holds no pointers.
    unsafe { bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr) }
}

/// Puts another program into a link, atomically: every packet meets the old one or the new one.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = attr();
    attr.link_update.link_fd = number(link);
    attr.link_update.__bindgen_anon_1.new_prog_fd = number(program);
    // SAFETY: the attribute holds no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

/// What stands at a device's TCX ingress, in the order in which packets meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcxProgram {
    pub(super) program_id: u32,
    /// 0 where it was attached without a link.
    pub(super) link_id: u32,
}

/// Of a device of the calling thread's network namespace.
pub(super) fn tcx_chain(ifindex: u32) -> io::Result<Vec<TcxProgram>> {
    // The kernel holds at most this many (BPF_MPROG_MAX).
    let (mut programs, mut links) = ([0u32; 64], [0u32; 64]);
    let mut attr = attr();
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    attr.query.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    attr.query.prog_ids = (&raw mut programs) as u64;
    attr.query.link_ids = (&raw mut links) as u64;
    attr.query.__bindgen_anon_2.count = programs.len() as u32;
    // SAFETY: both arrays are live and hold `count` elements.
    unsafe { bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr) }?;
    // SAFETY: an integer in every variant of the union.
    let count = unsafe { attr.query.__bindgen_anon_2.count } as usize;
    let both = programs.iter().zip(&links).take(count);
    Ok(both
        .map(|(&program_id, &link_id)| TcxProgram {
            program_id,
            link_id,
        })
        .collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkKind {
    Xdp,
    Tcx,
    Other,
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    pub(super) kind: LinkKind,
    pub(super) id: u32,
    pub(super) program_id: u32,
    /// 0 once the device is gone.
    pub(super) ifindex: u32,
}

pub(super) fn link_info(fd: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // SAFETY: integers; its addresses go with lengths, which are 0.
    let info: bpf_link_info = unsafe { info(fd) }?;
    let xdp = bpf_link_type::BPF_LINK_TYPE_XDP as u32;
    let tcx = bpf_link_type::BPF_LINK_TYPE_TCX as u32;
    let (kind, ifindex) = if info.type_ == xdp {
        // SAFETY: an integer in every variant of the union.
        (LinkKind::Xdp, unsafe { info.__bindgen_anon_1.xdp.ifindex })
    } else if info.type_ == tcx {
        // SAFETY: an integer in every variant of the union.
        (LinkKind::Tcx, unsafe { info.__bindgen_anon_1.tcx.ifindex })
    } else {
        (LinkKind::Other, 0)
    };
    Ok(LinkInfo {
        kind,
        id: info.id,
        program_id: info.prog_id,
        ifindex,
    })
}
