//! Time in buckets: fine ones for as long as they are likely to be asked for, coarser ones longer.
//! All in seconds since 1970, UTC.

/// Buckets of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    pub name: &'static str,
    pub width: u64,
    /// How long they are kept.
    pub kept: u64,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// From the finest to the coarsest.
pub const TIERS: [Tier; 3] = [
    Tier {
        name: "5m",
        width: 300,
        kept: 2 * DAY,
    },
    Tier {
        name: "1h",
        width: HOUR,
        kept: 62 * DAY,
    },
    Tier {
        name: "1d",
        width: DAY,
        kept: 731 * DAY,
    },
];

impl Tier {
    /// When the bucket began that `at` is in.
    pub const fn start(self, at: u64) -> u64 {
        at - at % self.width
    }

    /// Buckets that began before are gone.
    pub const fn oldest(self, now: u64) -> u64 {
        self.start(now.saturating_sub(self.kept))
    }
}

/// A time as it can be answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub tier: Tier,
    /// The start of a bucket.
    pub from: u64,
    /// The end of one.
    pub to: u64,
}

impl Period {
    /// The finest buckets that reach back to `from`, with `from` and `to` moved outwards to where
    /// they begin and end. Before the oldest bucket of all nothing is known.
    pub fn of(from: u64, to: u64, now: u64) -> Self {
        let [.., last] = TIERS;
        let reaches = |tier: &&Tier| tier.oldest(now) <= from;
        let tier = TIERS.iter().find(reaches).copied().unwrap_or(last);
        let from = tier.start(from.max(tier.oldest(now)));
        let to = tier.start(to.saturating_add(tier.width - 1)).max(from);
        Self { tier, from, to }
    }
}
