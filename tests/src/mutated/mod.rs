//! Mutated packets through the programs that are shipped: each must end in one verdict that is
//! counted once, and in nothing else.
//!
//! [`Mutated::run`] takes any bytes: a script of a few bytes and a frame ([`input`]). What comes out
//! is held against what the image alone says should come out ([`model`]), the counters of reasons,
//! routes and meters included ([`check`]). What flows remember is allowed, not required: a packet
//! that rules refuse may pass only if they admitted one of its flow.

mod bed;
mod check;
mod headers;
mod input;
mod model;
mod mutate;
mod seeds;

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use anyhow::{Context, Result, anyhow, ensure};
use vnet_gw_common::{
    internet::{SCOPE_MASK, host_mac},
    mac_to_u64,
    verdict::Reason,
};

use self::{
    bed::{Bed, Counted},
    check::{Change, Observed, Verdict},
    headers::{Layer4, Part},
    input::Input,
    model::{Asked, Expected, Given, Model},
};
pub use self::{mutate::mutate, seeds::seeds};
use crate::test_run::Hook;

/// Flows and fragments are remembered by hashes; more than these and all are forgotten together with
/// the bed.
const MOST_REMEMBERED: usize = 4 << 20;

/// The data path, and what it was asked so far.
pub struct Mutated {
    bed: Bed,
    model: Model,
    counted: Counted,
    /// Flows of which rules admitted a packet.
    admitted: HashSet<u64>,
    /// What became of first fragments; `None` where it was not up to the rules.
    firsts: HashMap<u64, Option<Verdict>>,
}

/// What came of an input, as a number below 65,536: the same for inputs that took one way.
pub type Feature = u16;

impl Mutated {
    /// Makes the bed. The calling thread is in its network namespace from then on.
    ///
    /// # Errors
    /// Without root, or where something in the kernel is missing.
    pub fn new() -> Result<Self> {
        let bed = Bed::new()?;
        let model = Model::new(&bed);
        let counted = bed.counted()?;
        let mut this = Self {
            bed,
            model,
            counted,
            admitted: HashSet::new(),
            firsts: HashMap::new(),
        };
        this.learn_scopes()?;
        Ok(this)
    }

    /// A packet to the internet shows the number of its sender's VNet.
    fn learn_scopes(&mut self) -> Result<()> {
        for (port, frame) in seeds::to_internet() {
            let vnet = self.model.ports[port].vnet.clone();
            let sent = self.bed.send(Hook::Tc, port, (0, 0), &frame)?;
            let (code, out) = sent.context("the kernel refuses a packet to the internet")?;
            let source: [u8; 6] = out
                .get(6..12)
                .and_then(|mac| mac.try_into().ok())
                .context("a short packet came out")?;
            let scope = mac_to_u64(source) as u32 & SCOPE_MASK;
            ensure!(
                mac_to_u64(source) & !u64::from(SCOPE_MASK) == host_mac(0) && scope != 0,
                "{} sends to the internet from {source:02x?}",
                vnet.name()
            );
            self.model.scopes.push((vnet, scope));
            let given = Given {
                hook: Hook::Tc,
                port,
                mark: 0,
                gso_size: 0,
                frame: &frame,
            };
            self.hold(&given, code, out)?;
        }
        Ok(())
    }

    /// Sends what `data` says. `None`: it says nothing that the kernel lets a program see.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn run(&mut self, data: &[u8]) -> Result<Option<Feature>> {
        let Some(input) = Input::read(data, &self.model) else {
            return Ok(None);
        };
        let given = input.given();
        let beside = (given.mark, given.gso_size);
        let Some((code, out)) = self.bed.send(given.hook, given.port, beside, given.frame)? else {
            return Ok(None);
        };
        self.hold(&given, code, out).map(Some)
    }

    /// Holds what came of a packet against what should have.
    fn hold(&mut self, given: &Given<'_>, code: u32, out: Vec<u8>) -> Result<Feature> {
        let expected = self.model.expect(given);
        let counted = self.bed.counted()?;
        let change = Change::between(&self.counted, &counted);
        self.counted = counted;
        let observed = Observed { code, out, change };
        self.judge(given, &expected, &observed).map_err(|why| {
            anyhow!(
                "{why}: {:?} into {}, mark {:#x}, gso_size {}: {:02x?}\n  returned {code}, counted \
                 {:?}; out: {:02x?}\n  expected {:?} by route {:?}, groups asked {:?}",
                given.hook,
                bed::DEVICES[given.port],
                given.mark,
                given.gso_size,
                given.frame,
                observed.change,
                observed.out,
                expected.end,
                expected.route,
                expected.asked,
            )
        })
    }

    fn judge(
        &mut self,
        given: &Given<'_>,
        expected: &Expected,
        observed: &Observed,
    ) -> Result<Feature, String> {
        let verdict = observed.verdict(given.hook)?;
        check::consistent(&self.model, given, expected, observed, &verdict)?;
        let by_groups = match &expected.asked {
            Some(asked) => self.groups(asked, expected, &verdict)?,
            None => false,
        };
        if !by_groups {
            check::as_expected(&self.model, given, expected, observed, &verdict)?;
        }
        Ok(feature(given, expected, &verdict))
    }

    /// Whether security groups decided; an error where they had to decide otherwise.
    fn groups(
        &mut self,
        asked: &Asked,
        expected: &Expected,
        verdict: &Verdict,
    ) -> Result<bool, String> {
        let Some(ip) = expected.ip else {
            return Ok(false);
        };
        let refused = match verdict {
            Verdict::Refused {
                reason:
                    Reason::NsgInbound
                    | Reason::NsgOutbound
                    | Reason::FragmentUnknown
                    | Reason::Truncated,
                ..
            } => Some(verdict.clone()),
            _ => None,
        };
        let datagram = |id: u32| hash(&(ip.source, ip.destination, id, asked.from));
        if let Part::Later(id) = asked.part {
            let unknown = Verdict::dropped(Reason::FragmentUnknown);
            let known = self.firsts.get(&datagram(id));
            // A table may have lost it, and it may be older than fragments get.
            let fits = match known {
                Some(Some(first)) => {
                    refused
                        .as_ref()
                        .is_some_and(|v| v == first || *v == unknown)
                        || refused.is_none() && *first == Verdict::Passed
                }
                Some(None) => true,
                None => refused.as_ref() == Some(&unknown),
            };
            if !fits {
                return Err(format!("the first fragment met {known:?}"));
            }
            return Ok(refused.is_some());
        }
        let Some(layer4) = asked.layer4 else {
            if *verdict != Verdict::dropped(Reason::Truncated) {
                return Err("what security groups ask for is cut".to_owned());
            }
            return Ok(true);
        };
        let rules = self.model.rules(asked, &layer4, &ip);
        let flow = flow(asked, &layer4, &ip);
        match (&refused, rules) {
            (Some(refused), Some(reason)) if *refused == Verdict::dropped(reason) => {}
            (Some(_), rules) => return Err(format!("rules say {rules:?}")),
            (None, Some(_)) if layer4.error || self.admitted.contains(&flow) => {}
            (None, Some(reason)) => {
                return Err(format!(
                    "passed security groups, whose rules say {}",
                    reason.name()
                ));
            }
            (None, None) => {
                if self.admitted.len() < MOST_REMEMBERED {
                    self.admitted.insert(flow);
                } else {
                    return Err("too many flows for one bed".to_owned());
                }
            }
        }
        if let Part::First(id) = asked.part {
            // An error that passes as part of a flow is not noted as a first fragment.
            let noted = (!layer4.error).then(|| refused.clone().unwrap_or(Verdict::Passed));
            self.firsts.insert(datagram(id), noted);
        }
        Ok(refused.is_some())
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The same both ways.
fn flow(asked: &Asked, layer4: &Layer4, ip: &headers::Ip) -> u64 {
    let a = (ip.source, layer4.ports.0, asked.from);
    let b = (ip.destination, layer4.ports.1, asked.to);
    hash(&(layer4.class, a.min(b), a.max(b)))
}

fn feature(given: &Given<'_>, expected: &Expected, verdict: &Verdict) -> Feature {
    let asked = expected.asked.as_ref().map(|asked| {
        let part = std::mem::discriminant(&asked.part);
        (
            asked.to,
            part,
            asked.layer4.map(|l4| (l4.class.min(18), l4.error)),
        )
    });
    let family = expected.ip.map(|ip| ip.v6());
    hash(&(
        given.hook,
        given.port,
        family,
        verdict.number(),
        asked,
        expected.meter.is_some(),
        expected.route,
    )) as u16
}
