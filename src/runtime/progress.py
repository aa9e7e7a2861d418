"""Progress, rate and time left: a bar on a terminal, plain lines in a file."""

import sys

from tqdm import tqdm

LINE_EVERY_SECONDS = 10


class _PlainLines(tqdm):
    """tqdm without control codes: one line now and then."""

    shown = 0

    def display(self, msg=None, pos=None):
        """Prints the state as a line of its own, once there is something to say."""
        if self.n > max(self.initial, self.shown):
            self.shown = self.n
            print(msg or str(self), file=sys.stderr, flush=True)
        return True

    def close(self):
        """Ends with the last state as a line."""
        if not self.disable:
            self.disable = True
            self.display(self.format_meter(**self.format_dict))


def progress(total, description, initial=0, hidden=False, unit="sequences"):
    """A progress display of sequences on stderr, to be used as tqdm's object; a hidden one for work
    that is over at once.
    """
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
