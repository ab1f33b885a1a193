//! The file system that a guest has in memory, in the form the kernel unpacks: an archive of
//! cpio's kind "newc" (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write},
    os::fd::AsRawFd,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};

use crate::tree;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
/// What the first process mounts over.
const MOUNT_POINTS: &[&str] = &["/proc", "/sys", "/dev", "/run", "/tmp"];

/// An archive being written.
pub(super) struct Initramfs {
    out: BufWriter<File>,
    entries: u32,
    written: BTreeSet<String>,
}

/// A complete archive. Its file has no name any more, so nothing is left of it however this ends.
pub(super) struct Archive(File);

impl Archive {
    /// Where another process of this user finds it while this one lives.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

impl Initramfs {
    pub(super) fn new() -> Result<Self> {
        let path = tree::target().join(format!("kernels/initramfs-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .with_context(|| format!("creating {}", path.display()))?;
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        let mut new = Self {
            out: BufWriter::new(file),
            entries: 0,
            written: BTreeSet::new(),
        };
        for directory in MOUNT_POINTS {
            new.directories(&format!("{directory}/"))?;
        }
        Ok(new)
    }

    /// A program with the shared libraries that it is linked with, these where they are here.
    pub(super) fn program(&mut self, at: &str, path: &Path) -> Result<()> {
        self.file(at, path, true)?;
        // Fails for what is linked statically and so needs none.
        let listed = tree::output(Command::new("ldd").arg(path)).unwrap_or_default();
        for library in libraries(&listed) {
            self.file(library, Path::new(library), true)?;
        }
        Ok(())
    }

    /// A copy of the file at `path`.
    pub(super) fn file(&mut self, at: &str, path: &Path, executable: bool) -> Result<()> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        self.bytes(at, &bytes, executable)
    }

    /// A file with that content, unless there is one already.
    pub(super) fn bytes(&mut self, at: &str, bytes: &[u8], executable: bool) -> Result<()> {
        if self.written.contains(at) {
            return Ok(());
        }
        self.directories(at)?;
        self.entry(at, if executable { PROGRAM } else { FILE }, bytes)
    }

    /// The directories that `path` leads through.
    fn directories(&mut self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/').skip(1) {
            if !self.written.contains(&path[..end]) {
                self.entry(&path[..end], DIRECTORY, &[])?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        self.written.insert(path.to_owned());
        write_entry(
            &mut self.out,
            self.entries,
            path.trim_start_matches('/'),
            mode,
            bytes,
        )
        .with_context(|| format!("writing {path} into the guest's file system"))
    }

    pub(super) fn finish(mut self) -> Result<Archive> {
        write_entry(&mut self.out, 0, "TRAILER!!!", 0, &[])
            .and_then(|()| {
                self.out
                    .into_inner()
                    .map_err(std::io::IntoInnerError::into_error)
            })
            .map(Archive)
            .context("writing the guest's file system")
    }
}

fn write_entry(
    out: &mut impl Write,
    inode: u32,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> std::io::Result<()> {
    let too_long = |_| std::io::Error::from(std::io::ErrorKind::FileTooLarge);
    let size = u32::try_from(bytes.len()).map_err(too_long)?;
    let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
    // Magic, inode, mode, user, group, links, time, size, four of devices, size of the name, sum.
    let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    let mut head = b"070701".to_vec();
    for field in fields {
        write!(head, "{field:08x}")?;
    }
    head.extend(name.as_bytes());
    head.push(0);
    for part in [&head, bytes] {
        out.write_all(part)?;
        out.write_all(&[0; 3][..part.len().next_multiple_of(4) - part.len()])?;
    }
    Ok(())
}

/// The paths in what `ldd` prints: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_padded_to_words() {
        let mut out = Vec::new();
        write_entry(&mut out, 7, "init", PROGRAM, b"hello").unwrap();
        let head = "07070100000007000081ed00000000000000000000000100000000\
                    0000000500000000000000000000000000000000\
                    0000000500000000";
        assert_eq!(&out[..110], head.as_bytes());
        assert_eq!(&out[110..], b"init\0\0hello\0\0\0");
    }

    #[test]
    fn libraries_are_the_paths() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            libraries(listed).collect::<Vec<_>>(),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }
}
