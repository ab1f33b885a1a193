fn main() -> std::process::ExitCode {
    vnet_gw::cli::main()
}
