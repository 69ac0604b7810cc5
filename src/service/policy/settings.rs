/// Declares a group of settings, each with its documentation, type and default. The settings under `also` have
/// setters of their own.
macro_rules! settings {
    (
        $(#[$doc:meta])*
        $group:ident { $($(#[$setting_doc:meta])* $setting:ident: $type:ty = $default:expr,)* }
        also { $($other:ident: $other_type:ty = $other_default:expr,)* }
    ) => {
        $(#[$doc])*
        ///
        /// Part of a [`Policy`](crate::Policy). The documentation of each setter gives its default and the reason.
        #[derive(Clone, Debug)]
        #[must_use]
        pub struct $group {
            $(pub(crate) $setting: $type,)*
            $(pub(crate) $other: $other_type,)*
        }

        impl Default for $group {
            fn default() -> Self {
                Self { $($setting: $default,)* $($other: $other_default,)* }
            }
        }

        impl $group {
            $(
                $(#[$setting_doc])*
                pub fn $setting(mut self, $setting: $type) -> Self {
                    self.$setting = $setting;
                    self
                }
            )*
        }
    };
}
