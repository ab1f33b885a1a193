//! The thread that looks at the flow tables.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use vnet_gw_common::flow;

use super::{
    FlowLogFile,
    book::{self, Book},
    record::{Lines, Moment},
};
use crate::datapath::{FlowNames, FlowTables, Scan};

/// How often the tables are looked at. Less than any flow stays there once it is over.
const INTERVAL: Duration = Duration::from_secs(5);

/// Flows of one family, as the last look found them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// That came about.
    pub established: u64,
    /// That may yet.
    pub half_open: u64,
    /// Taken out since the daemon started.
    pub expired: u64,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<Arc<FlowNames>>,
    stop: Mutex<bool>,
    stopped: Condvar,
    counts: Mutex<[FlowCounts; 2]>,
}

/// Keeps the flow tables for as long as it lives.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// # Errors
    /// Where no thread is to be had.
    pub fn start(instance: &str, tables: FlowTables, log: Option<FlowLogFile>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut work = Work {
            shared: Arc::clone(&shared),
            instance: instance.to_owned(),
            tables,
            log,
            book: Book::default(),
            failed: false,
        };
        let thread = thread::Builder::new().name("flows".to_owned());
        let thread = thread.spawn(move || work.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Whom ids in flows stand for from now on.
    pub fn set_names(&self, names: FlowNames) {
        *lock(&self.shared.names) = Arc::new(names);
    }

    /// Of IPv4, and of IPv6.
    pub fn counts(&self) -> [FlowCounts; 2] {
        *lock(&self.shared.counts)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *lock(&self.shared.stop) = true;
        self.shared.stopped.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has said what it had to say.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Work {
    shared: Arc<Shared>,
    instance: String,
    tables: FlowTables,
    log: Option<FlowLogFile>,
    book: Book,
    /// The last look failed: told once.
    failed: bool,
}

impl Work {
    /// Until it is told to stop; a last look tells of what is there then.
    fn run(&mut self) {
        loop {
            let stop = {
                let stop = lock(&self.shared.stop);
                let waited = self
                    .shared
                    .stopped
                    .wait_timeout_while(stop, INTERVAL, |stop| !*stop);
                *waited.unwrap_or_else(PoisonError::into_inner).0
            };
            match self.look() {
                Ok(()) => self.failed = false,
                Err(error) if !self.failed => {
                    self.failed = true;
                    let log = self.log.as_ref();
                    match log.map(FlowLogFile::path) {
                        Some(path) => log::warn!("flows, or {}: {error}", path.display()),
                        None => log::warn!("flows: {error}"),
                    }
                }
                Err(_) => {}
            }
            if stop {
                return;
            }
        }
    }

    fn look(&mut self) -> io::Result<()> {
        let Self {
            shared,
            tables,
            log,
            book,
            instance,
            ..
        } = self;
        let names = Arc::clone(&lock(&shared.names));
        let Some(log) = log else {
            let scans = tables.sweep(|_, _| {})?;
            count(shared, scans);
            return Ok(());
        };
        let moment = moment()?;
        let mut lines = Lines::new(instance, moment);
        book.begin();
        let scans = tables.sweep(|row, over| {
            book.saw(row, over, moment.ticks, &names, &mut |event| {
                lines.add(&event);
            });
        })?;
        book.finish(&names, &mut |event| lines.add(&event));
        tables.take_denied(|row| {
            if let Some(event) = book::denied(row, &names) {
                lines.add(&event);
            }
        })?;
        count(shared, scans);
        log.write(&lines.finish())
    }
}

fn count(shared: &Shared, scans: [Scan; 2]) {
    for (counts, scan) in lock(&shared.counts).iter_mut().zip(scans) {
        *counts = FlowCounts {
            established: scan.established,
            half_open: scan.half_open,
            expired: counts.expired + scan.expired,
        };
    }
}

fn moment() -> io::Result<Moment> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(Moment {
        time: SystemTime::now(),
        ticks: flow::ticks(Duration::from(now).as_nanos() as u64),
    })
}
