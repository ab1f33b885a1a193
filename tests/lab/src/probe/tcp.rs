//! One TCP transfer, its content checked where it arrives.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::Netns;

/// How long a peer may stay silent within a transfer.
const STALL: Duration = Duration::from_secs(10);

/// A finished transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    pub bytes: u64,
    pub elapsed: Duration,
}

impl Transfer {
    pub fn gbit_per_s(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64() / 1e9
    }
}

/// A connection from `from` to `address` in `to`; `None` where it was not established in
/// `patience`. Both sockets are blocking and give up after ten seconds of silence.
pub fn connect(
    from: &Netns,
    to: &Netns,
    address: IpAddr,
    patience: Duration,
) -> Result<Option<(TcpStream, TcpStream)>> {
    let listener = to
        .enter(|| TcpListener::bind(SocketAddr::new(address, 0)))?
        .with_context(|| format!("listening on {address} in {}", to.name()))?;
    let target = listener
        .local_addr()
        .context("reading the listener's port")?;
    let client = match from.enter(|| TcpStream::connect_timeout(&target, patience))? {
        Ok(client) => client,
        Err(error) => {
            use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
            return match error.kind() {
                TimedOut | HostUnreachable | NetworkUnreachable => Ok(None),
                _ => Err(error)
                    .with_context(|| format!("connecting from {} to {target}", from.name())),
            };
        }
    };
    let (server, _) = listener.accept().context("accepting the connection")?;
    for socket in [&client, &server] {
        socket
            .set_read_timeout(Some(STALL))
            .context("setting a timeout")?;
        socket
            .set_write_timeout(Some(STALL))
            .context("setting a timeout")?;
    }
    Ok(Some((client, server)))
}

/// Sends `bytes` bytes from `from` to `address` in `to`; `None` where no connection came about.
pub fn transfer(from: &Netns, to: &Netns, address: IpAddr, bytes: u64) -> Result<Option<Transfer>> {
    let Some((mut client, mut server)) = connect(from, to, address, Duration::from_secs(1))? else {
        return Ok(None);
    };
    let started = Instant::now();
    thread::scope(|scope| {
        let sender = scope.spawn(move || -> Result<()> {
            let pattern = pattern();
            let mut position = 0;
            while position < bytes {
                let due = expected(&pattern, position);
                let length = (bytes - position).min(due.len() as u64) as usize;
                client.write_all(&due[..length]).context("sending")?;
                position += length as u64;
            }
            Ok(())
        });
        let received = check(&mut server);
        sender
            .join()
            .map_err(|_| anyhow!("the sender panicked"))??;
        let received = received?;
        ensure!(received == bytes, "{received} of {bytes} bytes arrived");
        Ok(Some(Transfer {
            bytes,
            elapsed: started.elapsed(),
        }))
    })
}

/// Bytes repeat after this many: a prime, so that no packet, page or window is one period long and
/// a lost, doubled or moved piece shows.
const PERIOD: usize = 65_521;

/// Two periods.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        // Xorshift: no run of it looks like another.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    let once: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
    once.repeat(2)
}

/// What a transfer begins with, for a capture to look for.
pub(crate) fn mark() -> Vec<u8> {
    pattern()[..32].to_vec()
}

/// What a transfer holds from `position` on, at least a period of it.
fn expected(pattern: &[u8], position: u64) -> &[u8] {
    &pattern[(position % PERIOD as u64) as usize..]
}

fn check(server: &mut TcpStream) -> Result<u64> {
    let pattern = pattern();
    let mut position = 0u64;
    let mut chunk = vec![0; PERIOD];
    loop {
        let length = server.read(&mut chunk).context("receiving")?;
        if length == 0 {
            return Ok(position);
        }
        ensure!(
            chunk[..length] == expected(&pattern, position)[..length],
            "the transfer arrived changed between its bytes {position} and {}",
            position + length as u64
        );
        position += length as u64;
    }
}
