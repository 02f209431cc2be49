import nbformat, sys
from nbclient import NotebookClient
nb=nbformat.read('notebooks/11_smaller_and_better.ipynb',4)
for c in nb.cells:
    if c.id=='11-parameters': c.source=c.source.replace('"auto"  #','"digits"  #')
NotebookClient(nb,timeout=300,kernel_name='python3',resources={'metadata':{'path':'notebooks'}},allow_errors=True).execute()
nbformat.write(nb,'/tmp/me/nb/out.ipynb')
for c in nb.cells:
    for o in c.get('outputs',[]):
        if o.output_type=='error': print(c.id,o.ename,o.evalue[:300])
        if o.output_type=='stream' and o.name=='stderr': print(c.id,'STDERR',o.text[:200])
