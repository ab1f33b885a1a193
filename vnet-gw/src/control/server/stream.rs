//! Answers that go on: counters again and again, and traced packets.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::OwnedReadHalf,
    sync::mpsc,
    time::{Instant, interval_at},
};

use super::{Asked, Connection, TraceEnd};
use crate::control::{CounterFilter, ErrorCode, ErrorReply, Response, TracedPacket, find_nic};

/// Why a stream is over when the loop is.
pub(super) const ENDS: &str = "the daemon ends";
/// Packets of a trace that wait for a slow client, before some are left out.
const TRACE_QUEUE: usize = 256;
const WATCH_AT_LEAST: Duration = Duration::from_millis(100);

impl Connection {
    pub(super) async fn watch(&mut self, filter: CounterFilter, every: Duration) -> io::Result<()> {
        let mut ticks = interval_at(Instant::now(), every.max(WATCH_AT_LEAST));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => match self.counters(filter.clone()).await {
                    Ok(answer) => self.send(answer).await?,
                    Err(error) if error.code == ErrorCode::Ending => {
                        return self.send(Response::End(ENDS.to_owned())).await;
                    }
                    Err(error) => return self.refuse(error).await,
                },
                () = self.asked.closed() => {
                    return self.send(Response::End(ENDS.to_owned())).await;
                }
                () = hung_up(&mut self.reader) => return Ok(()),
            }
        }
    }

    pub(super) async fn trace(
        &mut self,
        name: &str,
        every: u32,
        count: Option<u64>,
    ) -> io::Result<()> {
        if every == 0 {
            let error = ErrorReply::new(ErrorCode::BadRequest, "every: 1 or more");
            return self.refuse(error).await;
        }
        let found = find_nic(&self.snapshot.borrow().topology, name).cloned();
        let nic = match found {
            Ok(nic) => nic,
            Err(error) => return self.refuse(ErrorReply::new(ErrorCode::Name, error)).await,
        };
        let (feed, mut packets) = mpsc::channel(TRACE_QUEUE);
        let started = self
            .ask(|answer| Asked::Trace {
                nic,
                every,
                feed,
                answer,
            })
            .await;
        match started {
            Ok(Ok(())) => self.send(Response::Tracing).await?,
            Ok(Err(error)) | Err(error) => return self.refuse(error).await,
        }
        let outcome = self.follow(&mut packets, count).await;
        // Closed before the loop is told, so that it sees that nobody listens.
        drop(packets);
        // Only a loop that is gone does not take it.
        let _ = self.asked.send(Asked::TraceGone).await;
        outcome
    }

    async fn follow(
        &mut self,
        packets: &mut mpsc::Receiver<Result<TracedPacket, TraceEnd>>,
        count: Option<u64>,
    ) -> io::Result<()> {
        let mut told = 0;
        loop {
            let message = tokio::select! {
                message = packets.recv() => message,
                () = hung_up(&mut self.reader) => return Ok(()),
            };
            match message {
                Some(Ok(mut packet)) => {
                    told += 1;
                    packet.number = told;
                    self.send(Response::Packet(packet)).await?;
                }
                Some(Err(TraceEnd::Lost(packets))) => self.send(Response::Lost(packets)).await?,
                Some(Err(TraceEnd::Over(why))) => return self.send(Response::End(why)).await,
                None => return self.send(Response::End(ENDS.to_owned())).await,
            }
            if count.is_some_and(|count| told >= count) {
                return self
                    .send(Response::End(format!("{told} packets traced")))
                    .await;
            }
        }
    }
}

/// Returns when the client closes its end, or says something where it should listen.
pub(super) async fn hung_up(reader: &mut BufReader<OwnedReadHalf>) {
    // Whatever comes, the stream is over: an error says no less than an end of file.
    let _ = reader.fill_buf().await;
}
