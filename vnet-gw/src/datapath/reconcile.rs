//! The kernel against the desired image: everything is read, compared and set right.

use std::time::Instant;

use super::{
    ApplyReport, Datapath, DatapathError, Drift, Owed, attach::Attacher, mirror::Difference,
    netdev::Netdevs, ports::Which, report::PortState, tables::TablesPlan,
};

impl Datapath {
    /// Compares whole tables with the image last applied and mends what differs; follows devices
    /// that appeared, vanished, were renamed or got another MTU. Does nothing before the first
    /// image.
    ///
    /// # Errors
    /// Only what keeps it from looking at all; what could not be mended is in the result.
    pub fn reconcile(&mut self) -> Result<Drift, DatapathError> {
        let start = Instant::now();
        let mut drift = Drift::default();
        let Some(image) = self.image.clone() else {
            return Ok(drift);
        };
        let settled = self.settle().and_then(|()| self.tables.arrive());
        note(&mut drift.failed, "the last change", settled);
        self.mend(&mut drift);
        if self.unfinished {
            let again = self.reach(image, &mut ApplyReport::default(), start);
            let again = again.and_then(|()| self.settle());
            note(&mut drift.failed, "carrying on with the last change", again);
        } else {
            let followed = self.follow(&mut drift);
            note(&mut drift.failed, "following devices", followed);
            let owed = Owed {
                ports_went: false,
                scopes: true,
            };
            let freed = self.free(owed);
            note(&mut drift.failed, "freeing what is not used", freed);
        }
        self.totals.reconciles += 1;
        self.totals.last_reconcile = Some(start.elapsed());
        self.totals.drift_found += drift.found() as u64;
        if drift.failed.is_empty() {
            self.totals.drift_mended += drift.found() as u64;
        }
        Ok(drift)
    }

    /// Devices come and go without us.
    fn follow(&mut self, drift: &mut Drift) -> Result<(), DatapathError> {
        let Some(image) = self.image.clone() else {
            return Ok(());
        };
        let devices = Netdevs::read().map_err(DatapathError::Netlink)?;
        let places = self.places(&image, &self.port_ids.clone(), &TablesPlan::default())?;
        let before = self.ports.summary();
        self.ports.forget_devices(&self.maps, &devices)?;
        let attacher = Attacher {
            directory: &self.directory,
            programs: &self.programs,
            features: self.features,
            choice: self.choice,
        };
        let wanted = self.internet.wanted(&image);
        let set = self.ports.set(
            &self.maps,
            &attacher,
            &devices,
            &wanted,
            &places,
            Which::All,
        )?;
        let word = self.internet.word(|id| self.port_ids.get(id).copied());
        if self.maps.set_internet(word) {
            drift
                .differences
                .push("the internet port differed in the settings; set right".to_owned());
        }
        drift.differences.extend(set.relinked);
        for (nic, now) in self.ports.summary() {
            let before = before.get(&nic);
            if before == Some(&now) {
                continue;
            }
            let was = before.map_or("unknown", |(_, _, state)| state.as_str());
            let mtu = now.1.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
            let why = match &now.2 {
                PortState::Failed(why) => format!(": {why}"),
                _ => String::new(),
            };
            drift.followed.push(format!(
                "{}: {was} → {}{mtu}{why}",
                nic.name(),
                now.2.as_str()
            ));
        }
        for link in attacher.sweep(&self.ports.interfaces())? {
            drift
                .orphans
                .push(format!("link {link} belonged to no port; removed"));
        }
        Ok(())
    }

    /// Whole maps.
    pub(super) fn mend(&mut self, drift: &mut Drift) {
        if !self.maps.mend_settings() {
            drift
                .differences
                .push("the settings differed; set right".to_owned());
        }
        // A device that is gone takes its entry with it, which is no drift.
        let forgotten = Netdevs::read()
            .map_err(DatapathError::Netlink)
            .and_then(|devices| self.ports.forget_devices(&self.maps, &devices));
        note(&mut drift.failed, "devices", forgotten);
        match self.scopes.mend(&self.maps) {
            Ok(found) => {
                for (id, difference) in found {
                    let line = format!("VNet number {id} {}", difference.describe());
                    match difference {
                        Difference::Orphan => drift.orphans.push(line),
                        Difference::Missing | Difference::Other => drift.differences.push(line),
                    }
                }
            }
            Err(error) => drift.failed.push(format!("VNet numbers: {error}")),
        }
        let meters = self.meters.mend(&self.maps);
        for (id, difference) in note(&mut drift.failed, "meters", meters).unwrap_or_default() {
            let line = format!("meter {id} {}", difference.describe());
            drift.differences.push(line);
        }
        match self.ports.mend(&self.maps) {
            Ok((differences, orphans)) => {
                drift.differences.extend(differences);
                drift.orphans.extend(orphans);
            }
            Err(error) => drift.failed.push(format!("ports: {error}")),
        }
        let endpoints = self.endpoints.mend(&self.maps);
        drift
            .differences
            .extend(note(&mut drift.failed, "endpoints", endpoints).unwrap_or_default());
        let rules = self.security.mend(&self.maps);
        drift
            .differences
            .extend(note(&mut drift.failed, "security rules", rules).unwrap_or_default());
        let swept = self.security.sweep(&self.maps);
        for id in note(&mut drift.failed, "rules that belong to nothing", swept).unwrap_or_default()
        {
            drift
                .orphans
                .push(format!("rule set {id} belonged to no port; removed"));
        }
        let tables = self.tables.mend(&self.maps);
        drift
            .differences
            .extend(note(&mut drift.failed, "tables", tables).unwrap_or_default());
        let swept = self.tables.sweep(&self.maps);
        for id in
            note(&mut drift.failed, "tables that belong to nothing", swept).unwrap_or_default()
        {
            drift
                .orphans
                .push(format!("table {id} belonged to no subnet; removed"));
        }
        let programs = self.programs.forget_others(&self.directory);
        for path in note(&mut drift.failed, "programs", programs).unwrap_or_default() {
            drift
                .orphans
                .push(format!("{} is of another version; removed", path.display()));
        }
    }
}

fn note<T>(failed: &mut Vec<String>, what: &str, result: Result<T, DatapathError>) -> Option<T> {
    result
        .map_err(|error| failed.push(format!("{what}: {error}")))
        .ok()
}
