//! The data path together with the internet port that leads out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use anyhow::Context;
use vnet_gw_common::capture::Capture;
use vnet_gw_core::{compile::Image, model::ResourceId, security::RuleSetId};

use super::{Fabric, TraceLog};
use crate::{
    capture::Copies,
    datapath::{
        ApplyReport, Counters, Datapath, DatapathError, Drift, Instance, MeterReading, PortStatus,
        ReadDeviceStats, RuleHits, Stats,
    },
    flow_log::{FlowCounts, FlowLogFile, FlowLogOptions, Keeper},
    internet::{self, Internet},
    metrics::Collector,
    probe::Inject,
};

/// What the daemon runs: the kernel's data path, and the host's side of its internet port.
///
/// An internet port that cannot be had is a warning, and what is for the internet is counted; the
/// rest of the data path does not depend on it.
pub struct Host {
    datapath: Datapath,
    instance: Instance,
    /// None with `--internet off`.
    internet: Option<Internet>,
    /// VNets that the host's side knows.
    scopes: BTreeSet<u32>,
    flows: Keeper,
    begun: bool,
}

impl Host {
    /// # Errors
    /// Where the flow tables cannot be read, or the flow log's file not be written.
    pub fn new(
        datapath: Datapath,
        internet: bool,
        flow_log: Option<&FlowLogOptions>,
    ) -> anyhow::Result<Self> {
        let instance = datapath.instance().clone();
        let log = flow_log.map(|options| {
            FlowLogFile::open(options.clone())
                .with_context(|| format!("--flow-log {}", options.path.display()))
        });
        let log = log.transpose()?;
        datapath.set_flow_log(log.is_some());
        let flows = Keeper::start(&instance.name, datapath.flow_tables()?, log)
            .context("the flow tables' thread")?;
        Ok(Self {
            internet: internet.then(|| Internet::new(&instance)),
            datapath,
            instance,
            scopes: BTreeSet::new(),
            flows,
            begun: false,
        })
    }

    /// The host's side first, and then the port, so that nothing leaves untranslated. What was mended.
    fn connect(&mut self, warnings: &mut Vec<String>) -> Result<Vec<String>, DatapathError> {
        let Some(internet) = &mut self.internet else {
            return Ok(Vec::new());
        };
        let scopes = self.datapath.scopes();
        match internet.ensure(&scopes) {
            Ok(found) => {
                for line in &found.done {
                    log::info!("internet: {line}");
                }
                warnings.extend(found.warnings);
                let gone = self.scopes.difference(&scopes).copied().collect();
                internet.forget(&gone);
                self.scopes = scopes;
                self.datapath.set_internet(found.port)?;
                Ok(found.mended)
            }
            Err(error) => {
                warnings.push(error.to_string());
                Ok(Vec::new())
            }
        }
    }

    /// Takes over what an earlier daemon left, or takes it away.
    fn begin(&mut self, warnings: &mut Vec<String>) -> Result<(), DatapathError> {
        self.begun = true;
        match &self.internet {
            Some(internet) => self.datapath.set_internet(internet.adopt()),
            None => {
                if let Err(error) = internet::down(&self.instance) {
                    warnings.push(error.to_string());
                }
                Ok(())
            }
        }
    }
}

impl Fabric for Host {
    fn apply(&mut self, image: Arc<Image>) -> Result<ApplyReport, DatapathError> {
        let mut warnings = Vec::new();
        let first = !self.begun;
        if first {
            self.begin(&mut warnings)?;
        }
        let applied = self.datapath.put_in_force(image);
        // After a failure anything may have changed.
        let same_names = applied
            .as_ref()
            .is_ok_and(|report| report.ports_changed + report.rule_sets_changed == 0);
        if first || !same_names {
            self.flows.set_names(self.datapath.flow_names());
        }
        let mut report = applied?;
        // Otherwise with every reconcile.
        if first || self.datapath.scopes() != self.scopes {
            self.connect(&mut warnings)?;
        }
        report.warnings.extend(warnings);
        Ok(report)
    }

    fn settle(&mut self) -> Result<(), DatapathError> {
        self.datapath.settle()
    }

    fn reconcile(&mut self) -> Result<Drift, DatapathError> {
        let mut warnings = Vec::new();
        let mended = match self.begun {
            true => self.connect(&mut warnings)?,
            false => Vec::new(),
        };
        let mut drift = self.datapath.reconcile()?;
        drift.differences.extend(
            mended
                .into_iter()
                .map(|line| format!("internet: {line}; made again")),
        );
        drift.failed.extend(warnings);
        Ok(drift)
    }

    fn counters(&self) -> Result<Counters, DatapathError> {
        self.datapath.counters()
    }

    fn ports(&self) -> Vec<PortStatus> {
        self.datapath.ports()
    }

    fn device_stats(&self) -> ReadDeviceStats {
        self.datapath.device_stats()
    }

    fn security(&self) -> (BTreeMap<RuleSetId, Vec<RuleHits>>, [FlowCounts; 2]) {
        (self.datapath.rule_hits(), self.flows.counts())
    }

    fn set_trace(&mut self, nic: &ResourceId, every: Option<u32>) -> Result<(), DatapathError> {
        self.datapath.set_trace(nic, every)
    }

    fn set_capture(
        &mut self,
        nic: &ResourceId,
        wanted: Option<Capture>,
    ) -> Result<(), DatapathError> {
        self.datapath.set_capture(nic, wanted)
    }

    fn lost_copies(&self, nic: &ResourceId) -> Result<u64, DatapathError> {
        self.datapath.lost_copies(nic)
    }

    fn copies(&self) -> io::Result<Box<dyn Copies>> {
        Fabric::copies(&self.datapath)
    }

    fn injector(&mut self) -> Result<Box<dyn Inject>, DatapathError> {
        Fabric::injector(&mut self.datapath)
    }

    fn stats(&self) -> Stats {
        self.datapath.stats()
    }

    fn meters(&self) -> Result<Vec<MeterReading>, DatapathError> {
        self.datapath.meters()
    }

    fn meters_settled(&mut self, born: &[u64]) -> Result<(), DatapathError> {
        self.datapath.meters_settled(born)
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        self.datapath.collectors()
    }

    fn trace_log(&self, sink: Box<dyn log::Log>) -> io::Result<Box<dyn TraceLog>> {
        Fabric::trace_log(&self.datapath, sink)
    }
}
