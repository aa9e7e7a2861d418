"""Display of progress, rate and time left: a bar on a terminal, plain lines elsewhere."""

import sys

from tqdm import tqdm

LINE_EVERY_SECONDS = 10


class _PlainLines(tqdm):
    """tqdm that prints a plain line now and then, without control codes."""

    shown = 0

    def display(self, msg=None, pos=None):
        """Prints the progress as a line, if there is any since the last one."""
        if self.n > max(self.initial, self.shown):
            self.shown = self.n
            print(msg or str(self), file=sys.stderr, flush=True)
        return True

    def close(self):
        """Prints the final progress as a line."""
        if not self.disable:
            self.disable = True
            self.display(self.format_meter(**self.format_dict))


def progress(total, description, initial=0, hidden=False, unit="sequences"):
    """A tqdm object that shows progress on stderr; `hidden` is for work that takes no time."""
    settings = {"total": total, "desc": description, "unit": f" {unit}", "initial": initial}
    settings["disable"] = hidden
    if sys.stderr.isatty():
        times = "[{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
        bar = "{l_bar}{bar}| {n_fmt}/{total_fmt} " + times
        return tqdm(**settings, bar_format=bar, dynamic_ncols=True)
    line = (
        "{desc}: {n_fmt}/{total_fmt}{unit}, {elapsed} passed, {remaining} left, "
        "{rate_noinv_fmt}{postfix}"
    )
    return _PlainLines(**settings, bar_format=line, mininterval=LINE_EVERY_SECONDS)
