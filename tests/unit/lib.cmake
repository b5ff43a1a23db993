# SPDX-License-Identifier: MIT
#
# The unit tests of lib/: one file a module, of the same name.
