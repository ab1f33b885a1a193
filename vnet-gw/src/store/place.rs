//! Where a store's file is: a directory and a file that only their owner reads, because shared keys
//! are in there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Makes the directory of `path` (0700) where it is missing, and closes it to others where it is
/// ours alone: a directory that all write to, `/tmp`, stays as it is.
pub(super) fn prepare(path: &Path) -> io::Result<()> {
    let directory = directory(path);
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let meta = fs::metadata(directory)?;
    let shared = meta.mode() & 0o1000 != 0 || meta.uid() != nix::unistd::geteuid().as_raw();
    if !shared && meta.mode() & 0o077 != 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The file, for reading and writing, closed to others whatever it was before.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// A new file beside `path`, to be [put in its place](replace) when it is whole.
pub(super) fn draft(path: &Path) -> io::Result<(PathBuf, File)> {
    let new = path.with_extension("redb.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    Ok((new, file))
}

/// In one step, and on the disk when it returns.
pub(super) fn replace(path: &Path, new: &Path) -> io::Result<()> {
    fs::rename(new, path)?;
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
