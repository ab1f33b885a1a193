//! The worker's thread.

use std::{
    any::Any,
    io,
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::eventfd::EventFd;
use tokio::sync::mpsc;

use super::{
    Command, FromWorker,
    bucket::Bucket,
    counters::Counters,
    handle::{Configuration, Message},
    inbound::Opener,
    outbound::{Back, Sealer},
    priority::Priority,
    report::Reporter,
    spin::Spin,
    tunnels::Tunnels,
};
use crate::io::{Poll, Port, Ready, Underlay, token};

/// Packets from the port before a look at the underlay, and batches from there before one back.
const READS: usize = 64;
const BATCHES: usize = 4;
/// The kernel tells of a wider path to nobody, so the MTU of those in use is asked for.
const MEASURE: Duration = Duration::from_secs(5);
/// Between two questions after a path refused packets.
const MEASURE_AGAIN: Duration = Duration::from_millis(20);

/// What the thread has in common with its handle.
pub(super) struct Shared {
    pub(super) commands: rtrb::Consumer<Message>,
    pub(super) wake: Arc<EventFd>,
    /// Set by the handle once it is dropped.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) out: mpsc::Sender<FromWorker>,
    pub(super) counters: Arc<Counters>,
}

/// Works until it is told to stop, or cannot go on.
pub(super) fn run(
    port: Box<dyn Port>,
    underlay: Box<dyn Underlay>,
    shared: Shared,
    configuration: &Configuration,
) {
    // Kept from the beginning, so that the last word finds room whatever else waits.
    let last_word = shared.out.clone().try_reserve_owned();
    // Whatever a panic leaves half done goes with the thread: nothing of it is looked at again.
    let result = catch_unwind(AssertUnwindSafe(|| {
        Gateway::new(port, underlay, shared, configuration).and_then(Gateway::work)
    }));
    let why = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("the worker panicked: {}", message_of(&*panic)),
    };
    if let Ok(last_word) = last_word {
        last_word.send(FromWorker::Failed(why));
    }
}

/// What `panic!` was given.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Everything the thread has.
struct Gateway {
    port: Box<dyn Port>,
    underlay: Box<dyn Underlay>,
    shared: Shared,
    poll: Poll,
    tunnels: Tunnels,
    sealer: Sealer,
    opener: Opener,
    reporter: Reporter,
    priority: Priority,
    spin: Spin,
    /// TCP's super-packets passed in this turn.
    bulk: bool,
    bandwidth: Option<u64>,
    /// The port brought one packet at a time lately.
    sparse: bool,
    /// When the paths' MTUs were asked for.
    measured: Instant,
    /// When the next replaced SA goes.
    expires: Option<Instant>,
}

impl Gateway {
    fn new(
        port: Box<dyn Port>,
        underlay: Box<dyn Underlay>,
        shared: Shared,
        configuration: &Configuration,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let bandwidth = configuration.bandwidth;
        let mut gateway = Self {
            poll: Poll::new()?,
            tunnels: Tunnels::new(shared.counters.clone()),
            sealer: Sealer::new(Bucket::new(bandwidth, now), Bucket::of_errors(now)),
            opener: Opener::new(Bucket::new(bandwidth, now), shared.out.clone()),
            reporter: Reporter::new(shared.out.clone(), now),
            priority: Priority::new(now),
            spin: Spin::default(),
            bulk: false,
            bandwidth,
            sparse: true,
            measured: now,
            expires: None,
            port,
            underlay,
            shared,
        };
        gateway.poll.watch(gateway.shared.wake.as_fd())?;
        gateway.port.register(&gateway.poll)?;
        gateway.underlay.register(&gateway.poll)?;
        gateway
            .tunnels
            .configure(configuration, &mut *gateway.underlay);
        Ok(gateway)
    }

    fn work(mut self) -> io::Result<()> {
        let mut ready = Ready::new();
        loop {
            let patience = self.patience();
            if self.priority.is_raised() && patience != Some(Duration::ZERO) {
                self.spin.wait(&self.poll, &mut ready, patience)?;
            } else {
                self.poll.wait(&mut ready, patience)?;
            }
            self.port.ready(&ready);
            self.underlay.ready(&ready);
            let now = Instant::now();
            if ready.contains(token(&*self.shared.wake)) {
                // Fails only where somebody read it already.
                let _ = self.shared.wake.read();
                if self.shared.stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                while let Ok(message) = self.shared.commands.pop() {
                    match message {
                        Message::Configure(new) => self.configure(&new, now)?,
                        Message::Command(command) => self.command(command, now),
                    }
                }
            }
            self.sealer.bucket.fill(now);
            self.sealer.errors.fill(now);
            self.opener.bucket.fill(now);
            self.outward()?;
            self.inward()?;
            self.priority.turn(std::mem::take(&mut self.bulk), now);
            self.keep_house(now);
        }
    }

    /// How long nothing can be due.
    fn patience(&self) -> Option<Duration> {
        if self.port.has_more() || self.underlay.has_more() {
            return Some(Duration::ZERO);
        }
        let report = self.reporter.due(&self.tunnels);
        let due = [report, self.expires].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// From the port to the underlay.
    fn outward(&mut self) -> io::Result<()> {
        let Self {
            port,
            underlay,
            tunnels,
            sealer,
            bulk,
            sparse,
            ..
        } = self;
        let (underlay, counters) = (&mut **underlay, &*self.shared.counters);
        let mut count = 0;
        while count < READS {
            let Some(inner) = port.read()? else {
                break;
            };
            count += 1;
            *bulk |= inner.offload.is_tcp_super();
            let back = sealer.seal(&inner.offload, inner.packet, tunnels, underlay, counters);
            if let Some(Back { offload, packet }) = back {
                let whole = 0..packet.len();
                if port.write(&offload, packet, &[whole]).is_err() {
                    counters.port_write_errors.add(1);
                }
            }
            // Most probably the only one: it need not wait for the port to say that it is.
            if *sparse && count == 1 {
                sealer.flush(tunnels, underlay, counters);
            }
        }
        if count != 0 {
            *sparse = count == 1;
        }
        sealer.flush(tunnels, underlay, counters);
        Ok(())
    }

    /// From the underlay to the port.
    fn inward(&mut self) -> io::Result<()> {
        let Self {
            port,
            underlay,
            tunnels,
            opener,
            bulk,
            ..
        } = self;
        let (port, underlay) = (&mut **port, &mut **underlay);
        for _ in 0..BATCHES {
            match opener.open(tunnels, underlay, port, &self.shared.counters) {
                Ok(Some(opened)) => *bulk |= opened.bulk,
                Ok(None) => break,
                // Of a socket that tells of an earlier mishap; what comes next is not touched by it.
                Err(error) => {
                    log::debug!("receiving ESP: {error}");
                    break;
                }
            }
        }
        port.flush()
    }

    /// What is due from time to time.
    fn keep_house(&mut self, now: Instant) {
        self.measure(now);
        self.reporter.report(&mut self.tunnels, now);
        if self.expires.is_some_and(|expires| expires <= now) {
            self.expires = self.tunnels.expire(now);
        }
    }

    /// Asks for the MTU of paths: soon where one refused packets, now and then of those in use.
    fn measure(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.measured);
        if since < MEASURE_AGAIN {
            return;
        }
        let all = since >= MEASURE;
        let mut asked = all;
        for number in 0..self.tunnels.all.len() {
            let seen = &self.tunnels.all[number].seen;
            if seen.narrowed || (all && seen.sent) {
                self.tunnels.measure(number, &mut *self.underlay);
                asked = true;
            }
        }
        if asked {
            self.measured = now;
        }
    }

    fn configure(&mut self, new: &Configuration, now: Instant) -> io::Result<()> {
        if let Err(error) = self.underlay.configure(&new.addresses) {
            log::warn!("{error}");
        }
        self.underlay.register(&self.poll)?;
        self.tunnels.configure(new, &mut *self.underlay);
        if self.bandwidth != new.bandwidth {
            self.bandwidth = new.bandwidth;
            self.sealer.bucket = Bucket::new(new.bandwidth, now);
            self.opener.bucket = Bucket::new(new.bandwidth, now);
        }
        Ok(())
    }

    fn command(&mut self, command: Command, now: Instant) {
        let underlay = &mut *self.underlay;
        match command {
            Command::Install(child) => self.tunnels.install(&child, underlay),
            Command::SendOn { tunnel, inbound } => self.tunnels.send_on(tunnel, inbound),
            Command::Remove {
                tunnel,
                inbound,
                linger,
            } => {
                self.tunnels.remove(tunnel, inbound, now + linger);
                self.expires = self.tunnels.expire(now);
            }
            Command::Move {
                tunnel,
                encapsulation,
            } => self.tunnels.move_to(tunnel, encapsulation, underlay),
            Command::Path { tunnel, usable } => self.tunnels.set_usable(tunnel, usable),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use nix::sys::eventfd::EfdFlags;
    use vnet_gw_core::packet::VirtioHeader;

    use super::*;
    use crate::io::{
        IkeSockets, InnerPacket, OpenError, Outgoing, PathId, Received, SendFailure, SuperLimits,
    };

    /// Panics as soon as it is used.
    struct Broken;

    impl Port for Broken {
        fn register(&mut self, _: &Poll) -> io::Result<()> {
            panic!("broken on {}", "purpose");
        }
        fn ready(&mut self, _: &Ready) {}
        fn read(&mut self) -> io::Result<Option<InnerPacket<'_>>> {
            Ok(None)
        }
        fn has_more(&self) -> bool {
            false
        }
        fn write(&mut self, _: &VirtioHeader, _: &[u8], _: &[Range<usize>]) -> io::Result<()> {
            Ok(())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn limits(&self) -> SuperLimits {
            SuperLimits {
                bytes: 0,
                segments: 1,
            }
        }
    }

    #[derive(Default)]
    struct Nowhere(Arc<IkeSockets>);

    impl Underlay for Nowhere {
        fn register(&mut self, _: &Poll) -> io::Result<()> {
            Ok(())
        }
        fn ready(&mut self, _: &Ready) {}
        fn configure(&mut self, _: &[std::net::IpAddr]) -> Result<(), OpenError> {
            Ok(())
        }
        fn ike_sockets(&self) -> &Arc<IkeSockets> {
            &self.0
        }
        fn receive(&mut self) -> io::Result<Received<'_>> {
            Ok(Received {
                arena: &mut [],
                datagrams: &[],
            })
        }
        fn has_more(&self) -> bool {
            false
        }
        fn path(&mut self, _: &vnet_gw_core::sa::Encapsulation) -> PathId {
            PathId(0)
        }
        fn forget(&mut self, _: PathId) {}
        fn mtu(&mut self, _: PathId) -> Option<u16> {
            None
        }
        fn slot(&mut self, _: &Outgoing, _: usize) -> Option<&mut [u8]> {
            None
        }
        fn commit(&mut self, _: usize) {}
        fn pending(&self) -> usize {
            0
        }
        fn flush(&mut self, _: &mut dyn FnMut(SendFailure)) {}
    }

    #[test]
    fn a_panic_is_told() {
        let (_messages, commands) = rtrb::RingBuffer::new(1);
        let (out, mut said) = mpsc::channel(1);
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let shared = Shared {
            commands,
            wake: Arc::new(wake),
            stop: Arc::default(),
            out,
            counters: Arc::new(Counters::new("none", String::new())),
        };
        let configuration = Configuration {
            addresses: Vec::new(),
            private_addresses: Vec::new(),
            bandwidth: None,
            local_prefixes: Vec::new(),
            connections: Vec::new(),
        };
        run(
            Box::new(Broken),
            Box::<Nowhere>::default(),
            shared,
            &configuration,
        );
        let last = said.try_recv();
        let Ok(FromWorker::Failed(why)) = last else {
            panic!("{last:?}");
        };
        assert_eq!(why, "the worker panicked: broken on purpose");
    }
}
