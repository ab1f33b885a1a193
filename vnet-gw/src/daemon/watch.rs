//! Waiting until something that changes has come to rest: the configuration's directory, and the
//! devices of the network namespace.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::{
    inotify::{AddWatchFlags, InitFlags, Inotify},
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep_until},
};

use super::config::{ConfigFiles, Fingerprint};

/// A descriptor that becomes readable when something changed.
pub(super) trait Notices {
    fn fd(&self) -> BorrowedFd<'_>;
    /// Reads notices away. `WouldBlock` when there are no more.
    fn take(&self) -> io::Result<()>;
}

struct Registered<N> {
    notices: N,
    /// A descriptor of our own for the same file: it stays open for as long as it is waited for.
    fd: OwnedFd,
}

impl<N> AsRawFd for Registered<N> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Waits until notices come no more.
pub(super) struct Settled<N> {
    notices: AsyncFd<Registered<N>>,
    quiet: Duration,
    /// The longest that steady notices put it off.
    patience: Duration,
    /// First notice not reported yet, and the end of the quiet time after the last one.
    pending: Option<(Instant, Instant)>,
}

impl<N: Notices> Settled<N> {
    pub(super) fn new(notices: N, quiet: Duration, patience: Duration) -> io::Result<Self> {
        let fd = notices.fd().try_clone_to_owned()?;
        // SAFETY: `fd` is open, belongs to the registered value, and is never replaced in it.
        let notices = unsafe { AsyncFd::register(Registered { notices, fd }) }?;
        Ok(Self {
            notices,
            quiet,
            patience,
            pending: None,
        })
    }

    pub(super) fn get(&self) -> &N {
        &self.notices.get_ref().notices
    }

    /// Returns some time after something changed. Dropped half-way it forgets nothing.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            match self.pending {
                None => self.notice().await?,
                Some((_, until)) => {
                    tokio::select! {
                        () = sleep_until(until) => {
                            self.pending = None;
                            return Ok(());
                        }
                        result = self.notices.readable() => {
                            drop(result?);
                            self.notice().await?;
                        }
                    }
                }
            }
        }
    }

    async fn notice(&mut self) -> io::Result<()> {
        let mut ready = self.notices.readable().await?;
        loop {
            match ready.get_inner().notices.take() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        ready.clear_ready();
        let now = Instant::now();
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, (now + self.quiet).min(first + self.patience)));
        Ok(())
    }
}

/// Notices of the directories in which the configuration's files are.
pub(super) struct Directories {
    inotify: Inotify,
}

impl Directories {
    fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self { inotify })
    }

    /// Watching what is watched already changes nothing, so this also finds a directory again
    /// that was replaced.
    fn watch(&self, files: &ConfigFiles) {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        for directory in files.paths().flat_map(directories).collect::<BTreeSet<_>>() {
            if let Err(error) = self.inotify.add_watch(&directory, flags) {
                log::debug!("watching {}: {error}", directory.display());
            }
        }
    }
}

/// Where the name is, and where the file is that it leads to.
fn directories(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = path.canonicalize().ok().map(|real| parent(&real));
    [Some(parent(path)), real].into_iter().flatten().collect()
}

impl Notices for Directories {
    fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    fn take(&self) -> io::Result<()> {
        self.inotify
            .read_events()
            .map(drop)
            .map_err(io::Error::from)
    }
}

/// The configuration's files. Editors replace them, tools write them in pieces, orchestrators turn
/// links; what counts is that a while after all that something else is there.
pub(super) struct ConfigWatch {
    settled: Settled<Directories>,
    files: ConfigFiles,
    seen: Fingerprint,
}

impl ConfigWatch {
    const QUIET: Duration = Duration::from_millis(150);
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Watches from now on; `seen` is what was read.
    pub(super) fn new(files: ConfigFiles, seen: Fingerprint) -> io::Result<Self> {
        let settled = Settled::new(Directories::new()?, Self::QUIET, Self::PATIENCE)?;
        settled.get().watch(&files);
        Ok(Self {
            settled,
            files,
            seen,
        })
    }

    /// Returns when the files are others than those last seen.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            self.settled.changed().await?;
            if self.check() {
                return Ok(());
            }
        }
    }

    /// Whether the files are others than last time, without waiting. Notices can be missing: a
    /// directory was replaced, a network file system tells nothing.
    pub(super) fn check(&mut self) -> bool {
        self.settled.get().watch(&self.files);
        let now = self.files.fingerprint();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

/// Notices that a device came, went or changed (rtnetlink, `RTMGRP_LINK`).
pub(super) struct Links {
    socket: OwnedFd,
}

impl Links {
    pub(super) fn watch() -> io::Result<Settled<Self>> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(
            socket.as_raw_fd(),
            &NetlinkAddr::new(0, libc::RTMGRP_LINK.cast_unsigned()),
        )?;
        Settled::new(
            Self { socket },
            Duration::from_millis(50),
            Duration::from_millis(500),
        )
    }
}

impl Notices for Links {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn take(&self) -> io::Result<()> {
        // Which device it was does not matter: a reconcile looks at all.
        let mut buffer = [0; 8192];
        match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            // Some were lost, so there were some.
            Ok(_) | Err(nix::errno::Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(template: &Path) -> ConfigFiles {
        ConfigFiles {
            template: template.to_owned(),
            parameters: None,
            deploy: Default::default(),
            host_name: None,
        }
    }

    /// Whether the watch wakes for `act`, within a time that is long for it.
    async fn wakes(watch: &mut ConfigWatch, act: impl FnOnce()) -> bool {
        act();
        tokio::time::timeout(Duration::from_secs(1), watch.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_is_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("net.json");
        let other = scratch.path().join("net.json.new");
        fs::write(&path, "1").unwrap();
        let files = files(&path);
        let mut watch = ConfigWatch::new(files.clone(), files.fingerprint()).unwrap();

        assert!(
            wakes(&mut watch, || fs::write(&path, "22").unwrap()).await,
            "written"
        );
        assert!(
            !wakes(&mut watch, || fs::write(&other, "333").unwrap()).await,
            "another file"
        );
        assert!(
            wakes(&mut watch, || fs::rename(&other, &path).unwrap()).await,
            "replaced"
        );
        assert!(
            wakes(&mut watch, || fs::remove_file(&path).unwrap()).await,
            "removed"
        );
        fs::write(&other, "4444").unwrap();
        let link = || std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(wakes(&mut watch, link).await, "linked");
        assert!(
            wakes(&mut watch, || fs::write(&other, "55555").unwrap()).await,
            "behind the link"
        );
    }

    #[tokio::test]
    async fn a_file_written_in_pieces_is_reported_once() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("net.json");
        let files = files(&path);
        let mut watch = ConfigWatch::new(files.clone(), files.fingerprint()).unwrap();
        for length in 1..5 {
            fs::write(&path, "x".repeat(length)).unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        watch.changed().await.unwrap();
        assert!(!wakes(&mut watch, || ()).await);
    }

    #[tokio::test]
    async fn a_directory_that_was_replaced_is_found_again() {
        let scratch = tempfile::tempdir().unwrap();
        let (dir, away) = (scratch.path().join("etc"), scratch.path().join("away"));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("net.json");
        fs::write(&path, "1").unwrap();
        let files = files(&path);
        let mut watch = ConfigWatch::new(files.clone(), files.fingerprint()).unwrap();
        fs::rename(&dir, &away).unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(&path, "22").unwrap();
        assert!(watch.check());
        assert!(!watch.check());
        assert!(wakes(&mut watch, || fs::write(&path, "333").unwrap()).await);
    }
}
