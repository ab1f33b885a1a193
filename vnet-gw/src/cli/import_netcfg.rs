//! `vnet-gw import-netcfg`

use std::{fs, io::Read, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use vnet_gw_core::netcfg::{self, FindingKind, Import};

use super::{
    Verdict, apply,
    args::{Cli, ImportNetcfgArgs, OutputFormat, TemplateArgs},
    output::{self, count},
};

pub(super) fn run(cli: &Cli, args: &ImportNetcfgArgs) -> Result<Verdict> {
    let group = &args.group;
    if !args.apply && (group.resource_group.is_some() || group.subscription_id.is_some()) {
        bail!("--resource-group and --subscription-id are for --apply; add it, or remove them");
    }
    let file = read(&args.file)?;
    let import = netcfg::import(&file, args.location.as_deref())
        .map_err(|error| anyhow!("{}: {error}", args.file.display()))?;
    if let Some(out) = &args.out {
        let text = serde_json::to_string_pretty(&import.template)? + "\n";
        fs::write(out, text).with_context(|| format!("writing {}", out.display()))?;
    }
    if cli.output == OutputFormat::Table {
        tell(&import, &args.file);
    }
    let deployed = match (args.apply, &import.invalid) {
        (true, None) => Some(apply::template(cli, &place(args), &import.template)?),
        _ => None,
    };
    match (cli.output, deployed) {
        (OutputFormat::Json, deployed) => {
            let deployed = deployed.map(|deployed| deployed.value());
            output::json(&report(&import, args, deployed))?;
        }
        (OutputFormat::Table, Some(deployed)) => deployed.tell()?,
        (OutputFormat::Table, None) if args.out.is_none() && !args.apply => {
            output::json(&import.template)?;
        }
        (OutputFormat::Table, None) => {}
    }
    Ok(match import.invalid {
        None => Verdict::Good,
        Some(_) => Verdict::Bad,
    })
}

/// Where the template goes.
fn place(args: &ImportNetcfgArgs) -> TemplateArgs {
    TemplateArgs {
        // It names the deployment.
        file: args.file.clone(),
        parameters: args.parameters.clone(),
        prune: false,
        group: args.group.clone(),
        location: args.location.clone(),
    }
}

/// The file, or so much of it that it is seen to be too large.
fn read(path: &Path) -> Result<Vec<u8>> {
    let reading = || format!("reading {}", path.display());
    let file = fs::File::open(path).with_context(reading)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(netcfg::MAX_BYTES + 1)?;
    file.take(most)
        .read_to_end(&mut bytes)
        .with_context(reading)?;
    Ok(bytes)
}

/// What whoever imports must know, on standard error: the template may be on standard output.
fn tell(import: &Import, file: &Path) {
    for finding in &import.findings {
        eprintln!("{}: {finding}", file.display());
    }
    for line in import.invalid.iter().flat_map(|error| error.lines()) {
        eprintln!("error: {}: {line}", file.display());
    }
    let of = |kind| {
        let findings = import.findings.iter();
        findings.filter(|finding| finding.kind == kind).count()
    };
    eprintln!(
        "{}: {}; {} not carried over, {} changed, {} to supply",
        file.display(),
        count(resources(import).len(), "resource"),
        of(FindingKind::NotCarriedOver),
        of(FindingKind::Changed),
        count(of(FindingKind::Supply), "value"),
    );
}

fn resources(import: &Import) -> &[Value] {
    let resources = import.template.get("resources").and_then(Value::as_array);
    resources.map_or(&[], Vec::as_slice)
}

fn report(import: &Import, args: &ImportNetcfgArgs, deployed: Option<Value>) -> Value {
    let findings = import.findings.iter().map(|finding| {
        json!({
            "line": finding.line,
            "kind": finding.kind.as_str(),
            "message": finding.message,
        })
    });
    let mut report = json!({ "findings": findings.collect::<Vec<_>>() });
    if let Some(error) = &import.invalid {
        report["error"] = error.body()["error"].clone();
    }
    if let Some(deployed) = deployed {
        report["deployment"] = deployed;
    } else if args.out.is_none() {
        report["template"] = import.template.clone();
    }
    report
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::args::GroupArgs;

    const BROKEN: &[u8] = br#"<NetworkConfiguration
        xmlns="http://schemas.microsoft.com/ServiceHosting/2011/07/NetworkConfiguration">
        <VirtualNetworkConfiguration><VirtualNetworkSites><VirtualNetworkSite name="VNet 1">
        <AddressSpace><AddressPrefix>10.1.0.0/16</AddressPrefix></AddressSpace>
        <Subnets><Subnet name="S"><AddressPrefix>10.2.0.0/24</AddressPrefix></Subnet></Subnets>
        </VirtualNetworkSite></VirtualNetworkSites></VirtualNetworkConfiguration>
        </NetworkConfiguration>"#;

    #[test]
    fn programs_get_findings_errors_and_the_template() {
        let import = netcfg::import(BROKEN, None).unwrap();
        let mut args = ImportNetcfgArgs {
            file: PathBuf::from("f"),
            out: None,
            location: None,
            apply: false,
            parameters: Vec::new(),
            group: GroupArgs::default(),
        };
        let shown = report(&import, &args, None);
        assert_eq!(shown["findings"][0]["line"], 3);
        assert_eq!(shown["findings"][0]["kind"], "changed");
        assert_eq!(shown["error"]["code"], "NetcfgInvalidSubnet");
        assert_eq!(shown["template"]["resources"][0]["name"], "VNet-1");
        args.out = Some(PathBuf::from("t"));
        assert_eq!(report(&import, &args, None).get("template"), None);
    }
}
