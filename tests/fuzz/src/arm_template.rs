//! ARM templates, from a file or a request, down to the tables of the data path.

use vnet_gw_core::{
    compile::{CompileOptions, compile},
    effective::effective_routes,
    model::{DeployOptions, parse_parameters_file, parse_template},
};

/// A template, or whatever it is. One that validates has effective routes and compiles or is
/// refused in words.
pub fn arm_template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Files of parameters are read by another function.
    let _ = parse_parameters_file(text);
    let topology = match parse_template(text, &DeployOptions::default()) {
        Ok(topology) => topology,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for vnet in topology.virtual_networks.values() {
        for subnet in vnet.subnets.values() {
            if let Err(error) = effective_routes(&topology, &subnet.id) {
                panic!("a subnet of the topology has no routes: {error}");
            }
        }
    }
    let options = CompileOptions::default();
    if let Ok(image) = compile(&topology, &options, None) {
        // Nothing changes when nothing changed.
        let again = compile(&topology, &options, Some(&image));
        assert_eq!(again.ok().as_ref(), Some(&image));
    }
}
