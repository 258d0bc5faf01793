//! What `check` can find: a short name for each, which does not change. `docs/check.md` has a paragraph for each.

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) name: &'static str,
    pub(super) is_error: bool,
    /// What it is, in one sentence.
    pub(super) summary: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $is_error:literal, $summary:literal;)*) => {
        $(
            $(#[$doc])*
            pub(super) static $constant: Code = Code { name: $name, is_error: $is_error, summary: $summary };
        )*

        /// All of them.
        pub(super) static ALL: &[&Code] = &[$(&$constant),*];
    };
}

codes! {
    CONFIG = "config", true,
        "The filter refuses this configuration: the words are those that it logs at load.";
    SYNTAX = "syntax", true,
        "The file is not valid YAML, or too large or too deep to be read.";
    DUPLICATE_KEY = "duplicate-key", true,
        "A key is given more than once: which one counts depends on who reads it.";
    ENVOY_VALUE = "envoy-value", true,
        "Envoy does not take `configuration` as it is written: it is no StringValue with text, and no Struct with members.";
    CONFIG_WARNING = "config-warning", false,
        "The filter takes this configuration, and warns of it: the words are those that it logs at load.";
    FAIL_OPEN = "fail-open", false,
        "Where the filter fails or cannot be loaded, every request passes.";
    NO_VM_ID = "no-vm-id", false,
        "Without a vm_id of its own the plugin shares no keys and answers among workers.";
    SERVER_ON_GATEWAY = "server-on-gateway", false,
        "A plugin with `mode: SERVER` is not on a gateway's listeners: the gateway is open, without an error.";
    NO_AUTHN_PHASE = "no-authn-phase", false,
        "Without `phase: AUTHN` Istio's own filters come first, and may take the credential away.";
    NO_MERGE_TYPE = "no-merge-type", false,
        "A route's policy without mergeType replaces the gateway's, the filter included.";
    IDENTITY_HEADER_ROUTE = "identity-header-route", false,
        "A route is chosen by a header of the family x-authgear-*, before the filter removes what the client forged.";
    NO_EARLY_REMOVAL = "no-early-removal", false,
        "No ClientTrafficPolicy removes x-authgear-* headers early: a forged one chooses among routes and their policies.";
    BODY_FORMAT = "body-format", false,
        "`local_reply_config` rewrites the answers of the filter.";
    UNKNOWN_CLUSTER = "unknown-cluster", false,
        "The file does not define a cluster that the filter calls.";
}
