//! SIGKILL at random moments under a stream of writes.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use vnet_gw_lab::Lab;
use vnet_gw_tests::{bed::binary, killed};

const KILLS: usize = 1000;
const LANES: usize = 4;

/// Numbers that look random and are the same each time (xorshift).
pub(crate) struct Moments(pub(crate) u64);

impl Moments {
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[test]
fn what_was_answered_is_there_after_a_thousand_kills() {
    let binary = binary("store-writer").unwrap();
    let lab = Lab::new().unwrap();
    let (binary, place) = (&binary, lab.dir());
    thread::scope(|scope| {
        let lane = |lane: usize| {
            move || {
                let directory = place.join(format!("lane{lane}"));
                fs::create_dir(&directory).unwrap();
                let mut moments = Moments(0x9e37_79b9_7f4a_7c15 + lane as u64);
                let mut told: BTreeMap<usize, u64> = BTreeMap::new();
                for kill in 0..KILLS / LANES {
                    let mut child = Command::new(binary)
                        .arg(&directory)
                        .stdin(Stdio::null())
                        .stdout(Stdio::piped())
                        .spawn()
                        .unwrap();
                    let mut output = child.stdout.take().unwrap();
                    let mut first = [0; 1];
                    // Some die before they have told anything: while they open the store.
                    let early = kill % 10 == 9;
                    let read = if early {
                        0
                    } else {
                        output.read(&mut first).unwrap()
                    };
                    thread::sleep(Duration::from_micros(moments.next(30_000)));
                    child.kill().unwrap();
                    let status = child.wait().unwrap();
                    assert!(status.code().is_none(), "it ended by itself: {status}");
                    let mut text = first[..read].to_vec();
                    output.read_to_end(&mut text).unwrap();
                    for line in String::from_utf8(text).unwrap().lines() {
                        let (writer, number) = line.split_once(' ').unwrap();
                        told.insert(writer.parse().unwrap(), number.parse().unwrap());
                    }
                    let numbers = killed::check(&directory, &told)
                        .unwrap_or_else(|error| panic!("lane {lane}, kill {kill}: {error:#}"));
                    // What was on its way may be there: then it counts from now on.
                    told = numbers.into_iter().enumerate().collect();
                }
                let written: u64 = told.values().sum();
                assert!(written > KILLS as u64, "{written} writes are no stream");
            }
        };
        let lanes: Vec<_> = (0..LANES).map(|n| scope.spawn(lane(n))).collect();
        for lane in lanes {
            lane.join().unwrap();
        }
    });
}
