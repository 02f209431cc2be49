// What stands on the page of an open notebook, cell by cell, as `read` in lab.py hands it to Python.
() => {
  const page = document.querySelector(".jp-NotebookPanel .jp-WindowedPanel-outer");
  const right = page.getBoundingClientRect().left + page.clientWidth;

  // By how many pixels something sticks out of the page, or has to be scrolled to be read.
  const excess = (part) => {
    const box = part.getBoundingClientRect();
    const out = box.width ? box.right - right : 0;
    const cut = getComputedStyle(part).overflowX === "visible" ? 0 : part.scrollWidth - part.clientWidth;
    return Math.max(out, cut);
  };
  // MathJax hides a second copy of each formula, for screen readers, outside of the page.
  const shown = (part) => !part.closest("mjx-assistive-mml");

  const output = (part) => {
    const parts = [part, ...part.querySelectorAll("*")].filter(shown);
    return {
      kind: part.dataset.mimeType ?? "",
      text: part.innerText.trim(),
      excess: Math.round(Math.max(0, ...parts.map(excess))),
      alts: [...part.querySelectorAll("img")].map((image) => image.getAttribute("alt") ?? ""),
      broken: [...part.querySelectorAll("img")].filter(
        (image) => image.src.startsWith("data:") && !image.naturalWidth).length,
    };
  };

  return [...page.querySelectorAll(".jp-Cell")].map((cell) => ({
    code: cell.classList.contains("jp-CodeCell"),
    source: cell.querySelector(".jp-InputArea-editor .cm-content")?.innerText.trim() ?? "",
    count: cell.querySelector(".jp-InputArea-prompt")?.innerText.replace(/[[\]:\s]/g, "") ?? "",
    outputs: [...cell.querySelectorAll(
      ".jp-OutputArea-output, .jp-MarkdownCell .jp-MarkdownOutput")].map(output),
  }));
}
