//! A capture that somebody reads while it goes on: pcapng in pieces, each of whole blocks.

use std::io;

use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Interface, Packet, Pcapng, Progress, Sink, Why, file::now};

/// Where the pieces go. The reader is gone once it is closed.
pub type Feed = mpsc::Sender<Vec<u8>>;

/// A piece is handed on when it is as long as this, and when no more packets come for now.
const PIECE: usize = 64 << 10;

pub struct Stream {
    pcapng: Pcapng<Vec<u8>>,
    feed: Feed,
    /// In the piece that is being written.
    packets: u64,
    /// Left out, since the reader did not keep up.
    left_out: u64,
}

impl Stream {
    pub fn new(feed: Feed, interfaces: &[Interface], snap: u32) -> io::Result<Self> {
        let mut stream = Self {
            pcapng: Pcapng::begin(Vec::new(), interfaces, snap)?,
            feed,
            packets: 0,
            left_out: 0,
        };
        // A reader sees at once that it has begun.
        let _ = stream.hand_on();
        Ok(stream)
    }

    fn hand_on(&mut self) -> Result<(), Why> {
        if self.pcapng.get_mut().is_empty() {
            return match self.feed.is_closed() {
                true => Err(Why::Closed),
                false => Ok(()),
            };
        }
        let piece = std::mem::take(self.pcapng.get_mut());
        let packets = std::mem::take(&mut self.packets);
        match self.feed.try_send(piece) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.left_out += packets;
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(Why::Closed),
        }
    }
}

impl Sink for Stream {
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Why> {
        // Memory takes everything.
        let written = self.pcapng.packet(packet);
        written.map_err(|error| Why::Failed(error.to_string()))?;
        self.packets += 1;
        match self.pcapng.get_mut().len() > PIECE {
            true => self.hand_on(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Why> {
        self.hand_on()
    }

    fn written(&self) -> u64 {
        self.pcapng.written()
    }

    fn end(&mut self, progress: &Progress, _why: &Why) {
        let progress = Progress {
            packets: progress.packets.saturating_sub(self.left_out),
            lost: progress.lost + self.left_out,
            ..progress.clone()
        };
        if self.pcapng.end(&progress, now()).is_ok() {
            let _ = self.hand_on();
        }
    }
}
