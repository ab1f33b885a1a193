//! The data path as the loop sees it.

use std::{collections::BTreeMap, io, os::fd::AsFd, sync::Arc};

use aya_log::EbpfLogger;
use vnet_gw_common::capture::Capture;
use vnet_gw_core::{compile::Image, model::ResourceId, security::RuleSetId};

use crate::{
    capture::Copies,
    datapath::{
        ApplyReport, Counters, Datapath, DatapathError, Drift, MeterReading, PortStatus,
        ReadDeviceStats, RuleHits, Stats, device_stats,
    },
    flow_log::FlowCounts,
    metrics::Collector,
    probe::Inject,
};

/// What the loop asks of a data path. [`Datapath`] is the kernel's; tests have one in memory.
pub trait Fabric {
    /// The image is in force when it returns.
    fn apply(&mut self, image: Arc<Image>) -> Result<ApplyReport, DatapathError>;
    /// Frees what the last image needed, which may take a while.
    fn settle(&mut self) -> Result<(), DatapathError>;
    fn reconcile(&mut self) -> Result<Drift, DatapathError>;
    fn counters(&self) -> Result<Counters, DatapathError>;
    fn ports(&self) -> Vec<PortStatus>;
    /// What reads the counters of devices. For ten thousand ports that takes a while: whoever need
    /// not read them in the loop does it elsewhere.
    fn device_stats(&self) -> ReadDeviceStats;
    /// How often each security rule decided, and how many flows of IPv4 and of IPv6 there are.
    fn security(&self) -> (BTreeMap<RuleSetId, Vec<RuleHits>>, [FlowCounts; 2]);
    fn set_trace(&mut self, nic: &ResourceId, every: Option<u32>) -> Result<(), DatapathError>;
    /// Says what is copied of a port's packets, or that nothing is.
    fn set_capture(
        &mut self,
        nic: &ResourceId,
        wanted: Option<Capture>,
    ) -> Result<(), DatapathError>;
    /// Copies of a port that found no room.
    fn lost_copies(&self, nic: &ResourceId) -> Result<u64, DatapathError>;
    /// Where copies come from. One reader at a time.
    fn copies(&self) -> io::Result<Box<dyn Copies>>;
    /// Makes the way by which probes are sent.
    fn injector(&mut self) -> Result<Box<dyn Inject>, DatapathError>;
    fn stats(&self) -> Stats;
    /// What was handed over from one VNet into another.
    fn meters(&self) -> Result<Vec<MeterReading>, DatapathError>;
    /// What these meters, by their `born`, have counted is kept elsewhere.
    fn meters_settled(&mut self, born: &[u64]) -> Result<(), DatapathError>;
    /// What more of it is to be measured than its counters and ports: read when it is called.
    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        Vec::new()
    }
    /// Opens the log of the programs, whose records go to `sink`.
    fn trace_log(&self, sink: Box<dyn log::Log>) -> io::Result<Box<dyn TraceLog>>;
}

/// Records of the programs, waiting to be read. The descriptor is readable when there are some.
pub trait TraceLog: AsFd + Send {
    /// Hands every record that waits to the sink.
    fn flush(&mut self);
}

impl TraceLog for EbpfLogger<Box<dyn log::Log>> {
    fn flush(&mut self) {
        Self::flush(self);
    }
}

impl Fabric for Datapath {
    fn apply(&mut self, image: Arc<Image>) -> Result<ApplyReport, DatapathError> {
        self.put_in_force(image)
    }

    fn settle(&mut self) -> Result<(), DatapathError> {
        Self::settle(self)
    }

    fn reconcile(&mut self) -> Result<Drift, DatapathError> {
        Self::reconcile(self)
    }

    fn counters(&self) -> Result<Counters, DatapathError> {
        Self::counters(self)
    }

    fn ports(&self) -> Vec<PortStatus> {
        Self::ports(self)
    }

    fn device_stats(&self) -> ReadDeviceStats {
        device_stats
    }

    /// Flows are looked at by whoever runs it.
    fn security(&self) -> (BTreeMap<RuleSetId, Vec<RuleHits>>, [FlowCounts; 2]) {
        (self.rule_hits(), Default::default())
    }

    fn set_trace(&mut self, nic: &ResourceId, every: Option<u32>) -> Result<(), DatapathError> {
        Self::set_trace(self, nic, every)
    }

    fn set_capture(
        &mut self,
        nic: &ResourceId,
        wanted: Option<Capture>,
    ) -> Result<(), DatapathError> {
        Self::set_capture(self, nic, wanted)
    }

    fn lost_copies(&self, nic: &ResourceId) -> Result<u64, DatapathError> {
        Self::lost_copies(self, nic)
    }

    fn copies(&self) -> io::Result<Box<dyn Copies>> {
        let rings = self.packet_rings().map_err(io::Error::other)?;
        Ok(Box::new(rings))
    }

    fn injector(&mut self) -> Result<Box<dyn Inject>, DatapathError> {
        Ok(Box::new(self.probe_port()?))
    }

    fn stats(&self) -> Stats {
        Self::stats(self)
    }

    fn meters(&self) -> Result<Vec<MeterReading>, DatapathError> {
        Self::meters(self)
    }

    fn meters_settled(&mut self, born: &[u64]) -> Result<(), DatapathError> {
        Self::meters_settled(self, born)
    }

    fn trace_log(&self, sink: Box<dyn log::Log>) -> io::Result<Box<dyn TraceLog>> {
        // The programs of both hooks share one log.
        let Some(program) = self.program_ids().first().copied() else {
            return Err(io::Error::other("no program is loaded"));
        };
        let log = EbpfLogger::init_from_id_with_logger(program, sink).map_err(io::Error::other)?;
        Ok(Box::new(log))
    }
}
