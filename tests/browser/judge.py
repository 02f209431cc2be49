"""What is not as it should be on the page of a notebook, a sentence each."""

from lab import Cell

NO_ALT = {"", "Image"}  # JupyterLab writes the second where there is none


def judge_run(cells: list[Cell]) -> list[str]:
    """Cells that failed, warned, or were not run."""
    found = []
    for number, cell in enumerate(cells):
        for output in cell.outputs:
            if output.kind.endswith(".stderr"):  # JupyterLab shows errors so, too
                what = "fails" if "Traceback" in output.text else "writes to stderr"
                found.append(f"cell {number} {what}: {output.text[-400:]}")
        if cell.code and cell.source and not cell.count.isdigit():
            found.append(f"cell {number} was not run: {cell.source[:60]}")
    return found


def judge_pictures(cells: list[Cell]) -> list[str]:
    """Pictures without an alternative text, or that cannot be shown."""
    found = []
    for number, cell in enumerate(cells):
        where = f"cell {number} ({cell.source[:60]!r})"
        for output in cell.outputs:
            nameless = sum(alt.strip() in NO_ALT for alt in output.alts)
            found += [f"{where}: a picture has no alt text"] * nameless
            found += [f"{where}: a picture cannot be shown"] * output.broken
    return found


def judge_width(cells: list[Cell]) -> list[str]:
    """Outputs that are wider than their page."""
    return [
        f"cell {number} is {output.excess} pixels wider than its page: {output.text[:60]!r}"
        for number, cell in enumerate(cells)
        for output in cell.outputs
        if output.excess > 1  # a pixel is rounding
    ]
