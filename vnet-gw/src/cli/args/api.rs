//! `vnet-gw rest`, and how `vnet-gw run` serves the API.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};

use crate::api::{Addresses, ApiOptions};

#[derive(Debug, Args)]
pub struct RestArgs {
    /// What is done
    #[arg(value_enum, ignore_case = true, value_name = "METHOD")]
    pub method: MethodArg,

    /// The path, with its query: /subscriptions/…; an api-version need not be there
    #[arg(value_name = "PATH")]
    pub path: String,

    /// The body of the request: a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    Get,
    Head,
    Put,
    Patch,
    Post,
    Delete,
}

/// Where and how the API is served.
#[derive(Clone, Debug, Args)]
pub struct ApiArgs {
    /// Serve the API over HTTPS here; may be given several times, `off` serves the Unix socket only
    /// [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen)]
    pub listen: Vec<ListenArg>,

    /// The API's certificate in PEM, with those between it and its CA behind it [default: one by a
    /// CA of this instance's own]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The key of --tls-certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// A name or address of this host that the API's own certificate is good for, besides those that
    /// it knows; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "tls_certificate")]
    pub tls_name: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenArg {
    Off,
    At(SocketAddr),
}

fn listen(text: &str) -> Result<ListenArg, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(ListenArg::Off);
    }
    let address = text.parse().map(ListenArg::At);
    address
        .map_err(|_| "an address and a port, as in 127.0.0.1:8443 or [::]:8443, or off".to_owned())
}

impl ApiArgs {
    /// # Errors
    ///
    /// `off` together with an address.
    pub fn options(&self, subscription: &str, location: &str) -> Result<ApiOptions, String> {
        let addresses: Vec<SocketAddr> = self
            .listen
            .iter()
            .filter_map(|one| match one {
                ListenArg::At(address) => Some(*address),
                ListenArg::Off => None,
            })
            .collect();
        let listen = match (self.listen.contains(&ListenArg::Off), addresses.is_empty()) {
            (true, true) => Addresses::Off,
            (true, false) => {
                return Err("--listen: off and an address do not go together".to_owned());
            }
            (false, true) => Addresses::Default,
            (false, false) => Addresses::Given(addresses),
        };
        Ok(ApiOptions {
            listen,
            tls_names: self.tls_name.clone(),
            certificate: self.tls_certificate.clone().zip(self.tls_key.clone()),
            subscription: subscription.to_owned(),
            location: location.to_owned(),
            host: None,
            internet: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn options(line: &str) -> Result<ApiOptions, String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let Command::Run(args) = cli.command else {
            panic!("{line}");
        };
        args.api.options("S", "local")
    }

    #[test]
    fn where_the_api_is_served() {
        let run = "vnet-gw run --config f";
        let listen = |rest: &str| options(&format!("{run}{rest}")).unwrap().listen;
        assert_eq!(listen(""), Addresses::Default);
        assert_eq!(listen(" --listen off"), Addresses::Off);
        assert_eq!(
            listen(" --listen 192.0.2.1:443 --listen [::1]:8443"),
            Addresses::Given(vec![
                "192.0.2.1:443".parse().unwrap(),
                "[::1]:8443".parse().unwrap()
            ])
        );
        for (rest, told) in [
            (" --listen off --listen [::]:1", "do not go together"),
            (" --listen 8443", "an address and a port"),
            (" --tls-certificate c.pem", "--tls-key"),
            (
                " --tls-certificate c --tls-key k --tls-name n",
                "cannot be used with",
            ),
        ] {
            let error = options(&format!("{run}{rest}")).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
