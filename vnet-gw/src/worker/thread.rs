//! The worker's thread.

use std::{io, sync::Arc};

use nix::sys::eventfd::EventFd;
use tokio::sync::mpsc;

use super::{
    FromWorker,
    counters::Counters,
    handle::{Configuration, Message},
};
use crate::io::{Poll, Port, Ready, Underlay};

/// What the thread has in common with its handle.
pub(super) struct Shared {
    pub(super) commands: rtrb::Consumer<Message>,
    pub(super) wake: Arc<EventFd>,
    pub(super) out: mpsc::Sender<FromWorker>,
    pub(super) counters: Arc<Counters>,
}

/// Works until it is told to stop, or cannot go on.
pub(super) fn run(
    port: Box<dyn Port>,
    underlay: Box<dyn Underlay>,
    shared: Shared,
    configuration: Configuration,
) {
    let out = shared.out.clone();
    if let Err(error) = work(port, underlay, shared, configuration) {
        // Whoever does not listen any more has dropped the worker.
        let _ = out.blocking_send(FromWorker::Failed(error.to_string()));
    }
}

fn work(
    mut port: Box<dyn Port>,
    mut underlay: Box<dyn Underlay>,
    mut shared: Shared,
    mut configuration: Configuration,
) -> io::Result<()> {
    let poll = Poll::new()?;
    poll.watch(std::os::fd::AsFd::as_fd(&*shared.wake))?;
    let mut ready = Ready::new();
    port.register(&poll)?;
    loop {
        if let Err(error) = underlay.configure(&configuration.addresses) {
            log::warn!("{error}");
        }
        underlay.register(&poll)?;
        poll.wait(&mut ready, None)?;
        port.ready(&ready);
        underlay.ready(&ready);
        // Empty where something else woke us.
        let _ = shared.wake.read();
        while let Ok(message) = shared.commands.pop() {
            match message {
                Message::Stop => return Ok(()),
                Message::Configure(new) => configuration = *new,
                Message::Command(command) => log::debug!("{command:?}"),
            }
        }
        while port.has_more() {
            while port.read()?.is_some() {
                shared.counters.no_tunnel.add(1);
            }
        }
    }
}
