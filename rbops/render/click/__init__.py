"""The Click data plane's files: a server's configuration, the routes that all share, the unit that runs it."""

from rbops.render.click.files import ETC, KEYS, ClickFiles, click_files, element_files, keyless, library_file, stand_ins

__all__ = ["ETC", "KEYS", "ClickFiles", "click_files", "element_files", "keyless", "library_file", "stand_ins"]
